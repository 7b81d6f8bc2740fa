"""stub"""
class Pim:
    def __init__(self, *a): pass
