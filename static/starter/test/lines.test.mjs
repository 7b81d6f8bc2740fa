import assert from 'node:assert/strict'
import test from 'node:test'

import { counted, line, sorted } from '../src/lines.js'

test('a line has no spaces around it', () => assert.equal(line('  milk ').text, 'milk'))
test('nothing is not kept', () => assert.equal(line('   '), null))
test('the newest comes first', () => {
  assert.deepEqual(sorted([{ at: '1' }, { at: '3' }, { at: '2' }]).map(one => one.at), ['3', '2', '1'])
})
test('one line is one line', () => assert.equal(counted([{}]), '1 line'))
