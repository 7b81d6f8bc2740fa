import CozyClient, { Q } from 'cozy-client'

import { counted, line, sorted } from './lines.js'

const DOCTYPE = 'io.cozy.__doctype__'
const root = document.querySelector('[role=application]')
const { token, domain } = JSON.parse(root.dataset.cozy)
const client = new CozyClient({ uri: `${location.protocol}//${domain}`, token, store: false })

async function show() {
  const found = await client.query(Q(DOCTYPE).limitBy(100)).catch(() => ({ data: [] })) // nothing was kept yet
  document.getElementById('count').textContent = counted(found.data)
  document.getElementById('lines').replaceChildren(...sorted(found.data).map(item))
}

function item(kept) {
  const row = document.createElement('li')
  row.textContent = kept.text
  return row
}

document.getElementById('new').addEventListener('submit', async event => {
  event.preventDefault()
  const made = line(event.target.line.value)
  if (made) await client.create(DOCTYPE, made)
  event.target.reset()
  await show()
})

show()
