// cozy-client, unmodified, in a node process: reads commands as JSON lines, answers each with one.
import { createHash, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(import.meta.url)
const CozyClient = require('cozy-client').default

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const next = async () => JSON.parse((await lines.next()).value ?? '{"command":"end"}')
const say = answer => process.stdout.write('>> ' + JSON.stringify(answer) + '\n') // cozy-client's own log goes there too

let client

// The browser is the test: it opens the address, lets the client in, and says where it was led.
async function browse(url) {
  say({ open: url })
  return (await next()).landed
}

const commands = {
  async connect({ uri, scope, oauth }) {
    client = new CozyClient({ uri, scope, oauth })
    await client.getStackClient().register()
    return true
  },
  async options() {
    return client.getStackClient().oauthOptions
  },
  async authorize() {
    const codeVerifier = randomBytes(48).toString('base64url')
    const codeChallenge = createHash('sha256').update(codeVerifier).digest('base64url')
    const { token } = await client.authorize({ openURLCallback: browse, pkceCodes: { codeVerifier, codeChallenge } })
    return token
  },
  async create({ doctype, fields }) {
    return (await client.save({ _type: doctype, ...fields })).data
  },
  async list({ doctype }) {
    return (await client.stackClient.collection(doctype).all()).data.length
  },
  async share({ file }) {
    const { data } = await client.collection('io.cozy.permissions').createSharingLink({ _id: file, _type: 'io.cozy.files' }, { verbs: ['GET'] })
    return data.attributes
  },
  async links({ file }) {
    const { data } = await client.collection('io.cozy.permissions').findLinksByDoctype('io.cozy.files')
    return data.filter(link => link.attributes.permissions.files?.values.includes(file)).length
  },
  async stopSharing({ file }) {
    await client.collection('io.cozy.permissions').revokeSharingLink({ _id: file, _type: 'io.cozy.files' })
    return true
  },
  // An access token that is no good any more: cozy-client refreshes by itself, and sends the request again.
  async forget() {
    client.getStackClient().token.accessToken = 'eyJhbGciOiJIUzUxMiJ9.e30.AAAA'
    return true
  },
  async refresh() {
    return client.getStackClient().refreshToken()
  },
  async information() {
    return client.getStackClient().fetchInformation()
  },
  async update({ fields }) {
    const { registrationAccessToken } = client.getStackClient().oauthOptions // it forgets it otherwise
    return client.getStackClient().updateInformation({ ...fields, registrationAccessToken })
  },
  async isRevoked() {
    return client.getStackClient().checkForRevocation()
  },
  async unregister() {
    await client.getStackClient().unregister()
    return true
  }
}

for (;;) {
  const { command, ...given } = await next()
  if (command === 'end') break
  try {
    say({ value: await commands[command](given) })
  } catch (error) {
    say({ error: String(error.message || error), status: error.status })
  }
}
process.exit(0)
