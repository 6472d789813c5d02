'use strict'
// hyperdht nodes on this machine that dial and are dialled. Does what it is told over a TCP
// connection, a line of JSON each, and says there what came of it:
//   node connect-peer.js testnet COUNT | node connect-peer.js join PORT
const DHT = require('hyperdht')
const Protomux = require('protomux')
const blindRelay = require(require.resolve('blind-relay', { paths: [require.resolve('hyperdht')] }))
const c = require(require.resolve('compact-encoding', { paths: [require.resolve('protomux')] }))
const { createHash, randomBytes } = require('crypto')
const dgram = require('dgram')
const net = require('net')
const readline = require('readline')
const { once } = require('events')

const hex = (buffer) => Buffer.from(buffer).toString('hex')
const bytes = (text) => Buffer.from(text, 'hex')
const host = '127.0.0.1'
const CHUNK = 1 << 16

async function freePort () {
  const socket = dgram.createSocket('udp4').bind(0, host)
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}

async function testnet (count) {
  const first = DHT.bootstrapper(await freePort(), host)
  await first.fullyBootstrapped()
  const bootstrap = [{ host, port: first.address().port }]
  const nodes = [first]
  for (let i = 1; i < count; i++) {
    const node = new DHT({ bootstrap, host, port: 0, ephemeral: false, firewalled: false })
    await node.fullyBootstrapped()
    nodes.push(node)
  }
  return bootstrap
}

// Everything that comes on the channel goes back.
function echo (stream) {
  stream.on('error', () => {})
  const mux = Protomux.from(stream)
  mux.pair({ protocol: 'echo' }, () => {
    const channel = mux.createChannel({ protocol: 'echo' })
    const message = channel.addMessage({ encoding: c.raw, onmessage: (bytes) => { message.send(bytes) } })
    channel.open()
  })
}

// Sends so much, and waits for it to come back.
function check (stream, size) {
  return new Promise((resolve, reject) => {
    const sent = createHash('sha256')
    const received = createHash('sha256')
    let left = size
    let wanted = size
    stream.on('error', reject)
    stream.on('close', () => reject(new Error('closed early')))
    const mux = Protomux.from(stream)
    const channel = mux.createChannel({ protocol: 'echo', onopen: more })
    const message = channel.addMessage({
      encoding: c.raw,
      onmessage (bytes) {
        received.update(bytes)
        wanted -= bytes.length
        if (wanted > 0) return more()
        const same = sent.digest('hex') === received.digest('hex')
        resolve({ same, host: stream.rawStream.remoteHost, port: stream.rawStream.remotePort })
      }
    })
    channel.open()
    // No more than a few at a time.
    function more () {
      while (left > 0 && wanted - left < 8 * CHUNK) {
        const chunk = randomBytes(Math.min(CHUNK, left))
        sent.update(chunk)
        left -= chunk.length
        message.send(chunk)
      }
    }
  })
}

function commands (bootstrap) {
  const nodes = []
  const servers = []
  const pair = (seed) => DHT.keyPair(bytes(seed))
  const through = ({ relayThrough, ...options }) =>
    relayThrough ? { relayThrough: bytes(relayThrough), ...options } : options
  return {
    // One more node that takes it that it cannot be reached, or one that stays.
    node: async ({ stays }) => {
      const options = stays ? { ephemeral: false, firewalled: false } : { quickFirewall: false }
      const node = new DHT({ bootstrap, host, port: 0, ...options })
      await node.fullyBootstrapped()
      nodes.push(node)
      return nodes.length - 1
    },
    serve: async ({ node, seed, ...options }) => {
      const server = nodes[node].createServer(through(options), echo)
      await server.listen(pair(seed))
      servers.push(server)
      return hex(pair(seed).publicKey)
    },
    // Passes on between others.
    relay: async ({ node, seed }) => {
      const relay = new blindRelay.Server({
        createStream: (options) => nodes[node].createRawStream({ ...options, framed: true })
      })
      const server = nodes[node].createServer({}, (stream) => {
        stream.on('error', () => {})
        relay.accept(stream, { id: stream.remotePublicKey }).on('error', () => {})
      })
      await server.listen(pair(seed))
      servers.push(server)
    },
    close: async () => {
      await Promise.all(servers.splice(0).map((server) => server.close()))
    },
    dial: async ({ node, seed, key, size, times, ...options }) => {
      const all = []
      for (let i = 0; i < (times || 1); i++) {
        const keyPair = times ? DHT.keyPair(randomBytes(32)) : pair(seed)
        const stream = nodes[node].connect(bytes(key), { keyPair, ...through(options) })
        all.push(check(stream, size).finally(() => stream.destroy()))
      }
      return Promise.all(all)
    },
    // Dials in vain, and says why.
    fails: async ({ node, seed, key, ...options }) => {
      const stream = nodes[node].connect(bytes(key), { keyPair: pair(seed), ...options })
      const [error] = await once(stream, 'error').catch((error) => [error])
      return error.code
    },
    punches: async ({ node }) => nodes[node].stats.punches
  }
}

async function main () {
  const [mode, argument] = process.argv.slice(2)
  const bootstrap = mode === 'testnet' ? await testnet(Number(argument)) : [{ host, port: Number(argument) }]
  const run = commands(bootstrap)
  const server = net.createServer((socket) => {
    const say = (answer) => socket.write(JSON.stringify(answer) + '\n')
    readline.createInterface({ input: socket }).on('line', async (line) => {
      const { do: name, ...argument } = JSON.parse(line)
      try {
        say({ result: (await run[name](argument)) ?? null })
      } catch (error) {
        say({ error: error.code || error.message })
      }
    })
  })
  server.listen(0, host)
  await once(server, 'listening')
  console.log(JSON.stringify({ control: server.address().port, bootstrap: bootstrap[0].port }))
}

main()
