'use strict'
// A peer made of npm corestore 7, hypercore 11, hyperbee 2 and hyperdrive 13, over TCP and
// @hyperswarm/secret-stream, which does what the lines of JSON on its stdin say.
//
//   node net/core-peer.js FOLDER
//
// {"id": 1, "do": "listen"}  is answered by  {"id": 1, "done": {"port": 1234}}
//                                    or by  {"id": 1, "error": "why"}
// A command that waits does not hold up the next. It ends with its stdin.

const net = require('node:net')
const readline = require('node:readline')
const { createHash } = require('node:crypto')
const SecretStream = require('@hyperswarm/secret-stream')
const Corestore = require('corestore7')
const Hyperdrive = require('hyperdrive13')
const Hyperbee = require('hyperbee')
const BeeExtension = require('hyperbee/lib/extension')
const { create } = require('../lib/kinds')

const store = new Corestore(process.argv[2])
const keyPair = SecretStream.keyPair()
const streams = new Set()
const writers = new Map()
const cores = new Map()
const lives = new Map()
// What went wrong that nobody asked about: streams that broke, proofs that were no proofs.
const faults = []
let server = null
let leaving = false

// Block `index` of the history `history` of any core.
function block (index, history) {
  return Buffer.from(`block ${index} of history ${history} ` + 'x'.repeat((index * 7919) % 300))
}

function * blocks (from, to, history) {
  for (let index = from; index < to; index++) yield block(index, history)
}

class Digest {
  constructor () {
    this.hash = createHash('blake2b512')
  }

  add (bytes) {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(bytes.length)
    this.hash.update(length).update(bytes)
    return this
  }

  end () {
    return this.hash.digest('hex')
  }
}

// What the extension of bees has sent, and was answered.
const hints = { queries: 0, answers: 0, blocks: 0 }
for (const query of ['get', 'iterator']) {
  const send = BeeExtension.prototype[query]
  BeeExtension.prototype[query] = function (...args) {
    hints.queries++
    return send.apply(this, args)
  }
}
const { oncache } = BeeExtension.prototype
BeeExtension.prototype.oncache = function (message, from) {
  hints.answers++
  hints.blocks += message.blocks.length
  return oncache.call(this, message, from)
}

function join (initiator, socket) {
  socket.setNoDelay(true)
  const stream = new SecretStream(initiator, socket, { keyPair })
  streams.add(stream)
  stream.on('error', (error) => {
    // The other side may go as it likes; anything else is for the test to know.
    if (!leaving && error.code !== 'ECONNRESET' && error.code !== 'EPIPE') faults.push('stream: ' + error.stack)
  })
  stream.on('close', () => streams.delete(stream))
  store.replicate(stream)
  return stream
}

function watch (core) {
  const id = core.key.toString('hex')
  if (!cores.has(id)) {
    core.on('verification-error', (error) => faults.push('verification: ' + error.stack))
    core.on('conflict', () => faults.push('conflict'))
    cores.set(id, core)
  }
  return id
}

function core (key) {
  const core = cores.get(key)
  if (!core) throw new Error('No core is open by the key ' + key)
  return core
}

async function reach (core, reached) {
  while (!reached()) {
    await new Promise((resolve) => {
      const done = () => {
        core.off('append', done)
        core.off('truncate', done)
        core.off('download', done)
        resolve()
      }
      core.on('append', done)
      core.on('truncate', done)
      core.on('download', done)
    })
  }
}

const commands = {
  async listen () {
    server = net.createServer((socket) => join(false, socket))
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { port: server.address().port, key: keyPair.publicKey.toString('hex') }
  },

  // Again whenever the connection breaks, as hyperswarm does.
  async connect ({ port }) {
    const stream = join(true, net.connect(port, '127.0.0.1'))
    stream.on('close', () => {
      if (!leaving) setTimeout(() => commands.connect({ port }), 100)
    })
    if (!(await stream.opened)) throw new Error('The handshake failed')
  },

  // Destroys every stream, without a farewell.
  async disconnect () {
    leaving = true
    const closing = [...streams].map((stream) => new Promise((resolve) => stream.once('close', resolve)))
    for (const stream of streams) stream.destroy()
    await Promise.all(closing)
    leaving = false
  },

  async create ({ kind, name }) {
    const writer = await create(store, kind, name)
    const key = watch(writer.core)
    writers.set(key, writer)
    return { key }
  },

  async open ({ key }) {
    const core = store.get({ key: Buffer.from(key, 'hex') })
    await core.ready()
    watch(core)
  },

  // The core of that name, encrypted with that key.
  async createEncrypted ({ name, encryption }) {
    const core = store.get({ name, encryption: { key: Buffer.from(encryption, 'hex') } })
    await core.ready()
    const key = watch(core)
    writers.set(key, core)
    return { key }
  },

  async openEncrypted ({ key, encryption }) {
    const core = store.get({ key: Buffer.from(key, 'hex'), encryption: { key: Buffer.from(encryption, 'hex') } })
    await core.ready()
    watch(core)
    await core.update({ wait: true })
  },

  // Appends blocks `from..to`, `batch` at a time.
  async append ({ key, from, to, history, batch }) {
    const writer = writers.get(key)
    for (; from < to; from += batch) {
      await writer.append([...blocks(from, Math.min(from + batch, to), history)])
    }
  },

  // Appends `count` blocks of `size` bytes, 16 MiB at a time.
  async fill ({ key, count, size }) {
    const writer = writers.get(key)
    const batch = Math.max(1, Math.min(1000, (1 << 24) / size))
    for (let from = 0; from < count; from += batch) {
      const many = []
      for (let index = from; index < Math.min(from + batch, count); index++) {
        const block = Buffer.alloc(size, index & 255)
        block.writeUInt32LE(index)
        many.push(block)
      }
      await writer.append(many)
    }
  },

  // Everything is on the disk.
  async close () {
    await store.close()
  },

  async truncate ({ key, length }) {
    await writers.get(key).truncate(length)
  },

  async clear ({ key, start, end }) {
    await core(key).clear(start, end)
  },

  // Gets these blocks, all at once, whoever has them.
  async get ({ key, blocks }) {
    const got = await Promise.all(blocks.map((index) => core(key).get(index)))
    const digest = new Digest()
    for (const block of got) digest.add(block)
    return { digest: digest.end() }
  },

  async download ({ key, start, end }) {
    await core(key).download({ start, end }).done()
  },

  // Everything, and what is yet to come.
  async live ({ key }) {
    lives.set(key, core(key).download({ start: 0, end: -1 }))
  },

  async seek ({ key, bytes }) {
    const found = []
    for (const at of bytes) found.push(await core(key).seek(at))
    return { found }
  },

  // Tries to find a byte for so many milliseconds; and how much was said meanwhile, by when
  // it gave up.
  async seekFor ({ key, at, timeout }) {
    const began = performance.now()
    const found = await core(key).seek(at, { timeout }).catch(() => null)
    return { found, ms: performance.now() - began, ...said(core(key)) }
  },

  async said ({ key }) {
    return said(core(key))
  },

  // Waits until blocks `0..length` are here, on that fork.
  async reach ({ key, length, fork }) {
    const it = core(key)
    await reach(it, () => it.fork >= fork && it.length >= length && it.contiguousLength >= length)
  },

  // Waits until `count` more blocks have come.
  async more ({ key, count }) {
    const { replicator } = core(key).core
    const goal = replicator.stats.wireData.rx + count
    await reach(core(key), () => replicator.stats.wireData.rx >= goal)
  },

  // The blocks that are here, without asking anybody.
  async digest ({ key, start, end }) {
    const digest = new Digest()
    for (let index = start; index < end; index++) {
      const block = await core(key).get(index, { wait: false })
      if (block === null) throw new Error(`Block ${index} is not here`)
      digest.add(block)
    }
    return { digest: digest.end() }
  },

  async info ({ key }) {
    const it = core(key)
    const { wireData } = it.core.replicator.stats
    return {
      length: it.length,
      byteLength: it.byteLength,
      fork: it.fork,
      contiguousLength: it.contiguousLength,
      peers: it.peers.length,
      blocksIn: wireData.rx,
      blocksOut: wireData.tx,
      peakMemory: process.resourceUsage().maxRSS
    }
  },

  // Blocks as they are.
  async raw ({ key }) {
    const blocks = []
    for (let index = 0; index < core(key).length; index++) {
      blocks.push((await core(key).get(index)).toString('hex'))
    }
    return { blocks }
  },

  async bee ({ name, count }) {
    const writer = await create(store, 'v1', name)
    const bee = new Hyperbee(writer.core, { keyEncoding: 'utf-8', valueEncoding: 'binary' })
    const batch = bee.batch()
    for (let i = 0; i < count; i++) await batch.put(`key ${(i * 7919) % count}`, block(i, 0))
    await batch.flush()
    await bee.put('alone', block(count, 0))
    return { key: watch(writer.core), ...(await entries(bee)) }
  },

  async beeEntries ({ key }) {
    const bee = new Hyperbee(store.get({ key: Buffer.from(key, 'hex') }), {
      keyEncoding: 'utf-8',
      valueEncoding: 'binary'
    })
    await bee.ready()
    watch(bee.core)
    await bee.update({ wait: true })
    return entries(bee)
  },

  // Looks up each of these keys as if nothing of the bee were here yet.
  async beeLookups ({ key, keys, extension }) {
    const core = store.get({ key: Buffer.from(key, 'hex') })
    await core.ready()
    watch(core)
    await core.update({ wait: true })
    const { wireRequest } = core.core.replicator.stats
    const lookups = []
    for (const key of keys) {
      await core.clear(0, core.length)
      const bee = new Hyperbee(core.session(), { keyEncoding: 'utf-8', valueEncoding: 'binary', extension })
      await bee.ready()
      hints.queries = hints.answers = hints.blocks = 0
      const requests = wireRequest.tx
      const began = performance.now()
      const entry = await bee.get(key)
      const ms = performance.now() - began
      lookups.push({ ms, requests: wireRequest.tx - requests, ...hints, value: entry && entry.value.toString() })
      await bee.close()
    }
    return { lookups }
  },

  // A bee in its order, all of it or its beginning, as if nothing of it were here yet.
  async beeListing ({ key, extension, limit = -1 }) {
    const core = store.get({ key: Buffer.from(key, 'hex') })
    await core.ready()
    watch(core)
    await core.update({ wait: true })
    await core.clear(0, core.length)
    const bee = new Hyperbee(core.session(), { keyEncoding: 'utf-8', valueEncoding: 'binary', extension })
    await bee.ready()
    hints.queries = hints.answers = hints.blocks = 0
    const began = performance.now()
    const all = await entries(bee, { limit })
    const ms = performance.now() - began
    return { ms, ...hints, ...all }
  },

  // Sends this as the message of an extension of the core to whoever has it.
  async extend ({ key, name, payloads }) {
    const extension = core(key).registerExtension(name, { encoding: 'binary' })
    for (const payload of payloads) extension.broadcast(Buffer.from(payload, 'hex'))
  },

  // A drive of `count` files, some of them of several blocks.
  async drive ({ name, count }) {
    const drive = new Hyperdrive(store.namespace(name))
    await drive.ready()
    for (let i = 0; i < count; i++) {
      await drive.put(`/folder ${i % 7}/file ${i}`, Buffer.alloc((i * 7919) % 200_000, i), {
        executable: i % 5 === 0,
        metadata: { i }
      })
    }
    await drive.symlink('/link', '/folder 1/file 1')
    const blobs = await drive.getBlobs()
    watch(blobs.core)
    const key = watch(drive.core)
    return { key, content: blobs.core.key.toString('hex'), ...(await files(drive)) }
  },

  async driveFiles ({ key }) {
    const drive = new Hyperdrive(store, Buffer.from(key, 'hex'))
    await drive.ready()
    watch(drive.core)
    await drive.update({ wait: true })
    return files(drive)
  },

  // What is known of the peers, for who wonders why nothing goes on.
  async peers ({ key }) {
    return core(key).core.replicator.peers.map((peer) => ({
      fork: peer.remoteFork,
      length: peer.remoteLength,
      contiguousLength: peer.remoteContiguousLength,
      canUpgrade: peer.remoteCanUpgrade,
      lengthAcked: peer.lengthAcked,
      inflight: peer.inflight,
      paused: peer.paused
    }))
  },

  async faults () {
    return faults.splice(0)
  }
}

function said (core) {
  const { wireWant, wireUnwant, wireBitfield, wireRange, wireRequest } = core.core.replicator.stats
  return {
    wantsSent: wireWant.tx + (wireUnwant ? wireUnwant.tx : 0),
    wantsCame: wireWant.rx + (wireUnwant ? wireUnwant.rx : 0),
    haveCame: wireBitfield.rx + wireRange.rx,
    requestsCame: wireRequest.rx
  }
}

async function entries (bee, range) {
  const digest = new Digest()
  let count = 0
  for await (const { key, value } of bee.createReadStream(range)) {
    digest.add(Buffer.from(key)).add(value)
    count++
  }
  return { count, digest: digest.end() }
}

async function files (drive) {
  const digest = new Digest()
  let count = 0
  for await (const { key, value } of drive.list('/')) {
    const { executable, linkname, metadata } = value
    digest.add(Buffer.from(JSON.stringify([key, executable, linkname, metadata])))
    if (!linkname) digest.add(await drive.get(key))
    count++
  }
  return { count, digest: digest.end() }
}

// hypercore has something to say at times, too.
console.log = console.error

function say (answer) {
  process.stdout.write(JSON.stringify(answer) + '\n')
}

async function run (line) {
  const { id, do: name, ...args } = JSON.parse(line)
  try {
    if (!commands[name]) throw new Error('No such command: ' + name)
    const done = (await commands[name](args)) ?? null
    say({ id, done })
  } catch (error) {
    say({ id, error: error.stack.slice(0, 500) })
  }
}

process.on('unhandledRejection', (error) => faults.push('rejection: ' + error.stack))

readline.createInterface({ input: process.stdin }).on('line', run).on('close', () => process.exit(0))
