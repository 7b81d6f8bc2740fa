"""stub"""
PROJECTIONS = ()
DOCTYPES = ()
