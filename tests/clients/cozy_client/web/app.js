// A small web app on cozy-client, unmodified, in a browser: it lists a folder, uploads, renames, trashes, and shows what changes elsewhere.
import { Notifier } from '@airbrake/browser'
import CozyClient, { Q } from 'cozy-client'
import flag from 'cozy-flags'
import { RealtimePlugin } from 'cozy-realtime'

const ROOT = 'io.cozy.files.root-dir'
const FILES = 'io.cozy.files'
const root = document.querySelector('[role=application]')
const data = JSON.parse(root.dataset.cozy)
const client = new CozyClient({ uri: `${location.protocol}//${data.domain}`, token: data.token, store: false })
client.registerPlugin(flag.plugin)
client.registerPlugin(RealtimePlugin)

const list = document.getElementById('files')
const said = document.getElementById('said')

async function show() {
  const query = Q(FILES)
    .where({ dir_id: ROOT, type: 'file' })
    .indexFields(['dir_id', 'type', 'name'])
    .sortBy([{ dir_id: 'asc' }, { type: 'asc' }, { name: 'asc' }])
  const found = await client.query(query)
  list.replaceChildren(...found.data.map(item))
}

function item(file) {
  const row = document.createElement('li')
  row.dataset.id = file.id
  row.append(file.name, ' ', button('rename', () => rename(file)), button('trash', () => trash(file)))
  return row
}

function button(name, act) {
  const made = document.createElement('button')
  made.textContent = name
  made.onclick = act
  return made
}

const rename = file => client.collection(FILES).updateAttributes(file.id, { name: `renamed-${file.name}` })
const trash = file => client.collection(FILES).destroy({ _id: file.id, id: file.id })

document.getElementById('upload').onchange = event => {
  const [file] = event.target.files
  client.collection(FILES).createFile(file, { dirId: ROOT, name: file.name }).catch(error => { said.textContent = String(error) })
}

document.getElementById('fail').onclick = async () => {
  const { host, projectId, projectKey } = data.flags['errors.airbrake']
  const airbrake = new Notifier({ host, projectId, projectKey, remoteConfig: false, environment: 'test' })
  const notice = await airbrake.notify(new Error('it broke on purpose'))
  said.textContent = notice.id ? `reported ${notice.id}` : `not reported: ${notice.error}`
}

for (const event of ['created', 'updated', 'deleted']) client.plugins.realtime.subscribe(event, FILES, show)
show().then(() => { document.title = 'ready' }, error => { said.textContent = String(error) })
