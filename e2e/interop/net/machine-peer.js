'use strict'
// A machine of npm's: hyperswarm 4, corestore 7 and blind-relay, in the network of a
// bootstrap node.
//
//   node net/machine-peer.js meet BOOTSTRAP TOPIC announce|look [--relay KEY]
//     joins a topic; says "announced" or "looking", and for each peer "connected to HOST",
//     then "heard from HOST" with the first that it says
//   node net/machine-peer.js read BOOTSTRAP TOPIC FOLDER KEY [--relay KEY]
//     has both raw cores of the drive KEY from peers of that topic; prints
//     {"metadata", "content"}, of each the key and all blocks, in hex, and "hosts", where
//     these peers are
//   node net/machine-peer.js relay BOOTSTRAP
//     is a relay, on a machine that everybody reaches; says "relaying as KEY"
//
// With --relay, who cannot be met directly is met at that relay.

const Hyperswarm = require('hyperswarm4')
const DHT = require('hyperdht')
const Corestore = require('corestore7')
const BlindRelay = require('blind-relay')
const { Header } = require('hypertrie/lib/messages')
const { parseArgs } = require('node:util')

const { positionals, values } = parseArgs({ allowPositionals: true, options: { relay: { type: 'string' } } })
const [what, bootstrap, ...rest] = positionals
const [host, port] = bootstrap.split(':')

// Milliseconds: two who have just started may miss each other at first.
const PATIENCE = 60_000

function node (options) {
  return new DHT({ bootstrap: [{ host, port: Number(port) }], ...options })
}

function swarm () {
  return new Hyperswarm({ dht: node(), relayThrough: values.relay && Buffer.from(values.relay, 'hex') })
}

async function meet (topic, how) {
  const all = swarm()
  all.on('connection', (connection) => {
    const { remoteHost } = connection.rawStream
    connection.on('error', () => {})
    connection.once('data', () => console.log('heard from ' + remoteHost))
    console.log('connected to ' + remoteHost)
  })
  const server = how === 'announce'
  await all.join(Buffer.from(topic, 'hex'), { server, client: !server }).flushed()
  console.log(server ? 'announced' : 'looking')
}

async function read (topic, folder, key) {
  setTimeout(() => {
    console.error('no peer gives it')
    process.exit(1)
  }, PATIENCE).unref()
  const [all, store] = [swarm(), new Corestore(folder)]
  const hosts = new Set()
  all.on('connection', (connection) => {
    connection.on('error', () => {})
    hosts.add(connection.rawStream.remoteHost)
    store.replicate(connection)
  })
  all.join(Buffer.from(topic, 'hex'), { server: false, client: true })
  const metadata = await blocks(store, Buffer.from(key, 'hex'))
  const content = await blocks(store, Header.decode(metadata.blocks[0]).metadata)
  const hex = ({ key, blocks }) => ({ key: key.toString('hex'), blocks: blocks.map((block) => block.toString('hex')) })
  console.log(JSON.stringify({ metadata: hex(metadata), content: hex(content), hosts: [...hosts] }))
  await all.destroy()
  await store.close()
}

// All of a core.
async function blocks (store, key) {
  const core = store.get({ key })
  await core.ready()
  // The first block comes as soon as there is a peer, and with it the length.
  const blocks = [await core.get(0)]
  await core.update({ wait: true })
  while (blocks.length < core.length) blocks.push(await core.get(blocks.length))
  return { key, blocks }
}

async function relay () {
  const dht = node({ ephemeral: false, firewalled: false })
  await dht.fullyBootstrapped()
  const passing = new BlindRelay.Server({
    createStream: (options) => dht.createRawStream({ ...options, framed: true })
  })
  const server = dht.createServer((connection) => {
    connection.on('error', () => {})
    passing.accept(connection, { id: connection.remotePublicKey }).on('error', () => {})
  })
  const pair = DHT.keyPair()
  await server.listen(pair)
  console.log('relaying as ' + pair.publicKey.toString('hex'))
}

({ meet, read, relay })[what](...rest).catch((error) => {
  console.error(error.stack)
  process.exit(1)
})
