'use strict'
// Every method of npm @hyperspace/client 1.18, with assertions, against whatever
// server listens at HYPERSPACE_SOCKET. The server is stopped at the end.
//
//   HYPERSPACE_SOCKET=name [CLASSIC=1] [HYPERSPACE_TCP_PORT=port] node --test client-surface.js
//
// CLASSIC=1 leaves out what the classic server is known to get wrong, so that
// this file can be checked against it. HYPERSPACE_TCP_PORT names a second server.

const test = require('node:test')
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { randomBytes } = require('node:crypto')
const Client = require('@hyperspace/client')
const Coverage = require('./lib/coverage')

const classic = !!process.env.CLASSIC
const ours = { skip: classic ? 'a known fault of the classic server' : false }
const LIMIT = { timeout: 20_000 }

const coverage = new Coverage()
const names = new Set()

// A core name that no other run has used: the server may have a past.
function fresh (label) {
  const name = `${label}-${randomBytes(6).toString('hex')}`
  assert.ok(!names.has(name))
  names.add(name)
  return name
}

function connect () {
  const client = new Client()
  coverage.watch('client', client)
  coverage.watch('client', Object.getPrototypeOf(client))
  coverage.watch('network', Object.getPrototypeOf(client.network))
  coverage.watch('corestore', Object.getPrototypeOf(client._corestore))
  return client
}

// Runs `body` with a client of its own, and closes it whatever happens.
async function withClient (body) {
  const client = connect()
  try {
    await client.ready()
    return await body(client)
  } finally {
    client.close()
  }
}

// A callback-style method as a promise of the callback's arguments.
function called (start) {
  return new Promise((resolve, reject) => start((err, ...values) => err ? reject(err) : resolve(values)))
}

async function core (client, opts = { name: fresh('core') }) {
  const core = client.corestore().get(opts)
  coverage.watch('core', Object.getPrototypeOf(core))
  await core.ready()
  return core
}

function collect (stream) {
  return new Promise((resolve, reject) => {
    const blocks = []
    stream.on('data', block => blocks.push(block.toString()))
    stream.on('end', () => resolve(blocks))
    stream.on('error', reject)
  })
}

// Is `promise` still unsettled after everything already sent was answered?
async function pending (client, promise) {
  let settled = false
  promise.then(() => { settled = true }, () => { settled = true })
  await client.status()
  await client.status()
  return !settled
}

test('client: serverReady, ready, status', LIMIT, async () => {
  await Client.serverReady({})
  await withClient(async client => {
    const status = await client.status()
    assert.equal(status.apiVersion, '1.15.1')
    assert.match(status.version, /^\d+\.\d+\.\d+/)
    assert.equal(typeof status.remoteAddress, 'string')
    const [again] = await called(cb => client.status(cb))
    assert.equal(again.version, status.version)
    assert.equal(client.network.keyPair.publicKey.length, 32)
    assert.deepEqual(client.network.peers, [])
    await called(cb => client.ready(cb))
  })
})

test('client: over TCP', { ...LIMIT, skip: process.env.HYPERSPACE_TCP_PORT ? false : 'no TCP server given' }, async () => {
  const opts = { host: '127.0.0.1', port: Number(process.env.HYPERSPACE_TCP_PORT) }
  await Client.serverReady(opts)
  const client = new Client(opts)
  try {
    await client.ready()
    const core = client.corestore().get({ name: fresh('tcp') })
    assert.equal(await core.append('over tcp'), 0)
    assert.equal((await core.get(0)).toString(), 'over tcp')
  } finally {
    client.close()
  }
})

test('client: close rejects what is pending', LIMIT, async () => {
  const client = connect()
  await client.ready()
  const absent = await core(client, { key: randomBytes(32) })
  const get = absent.get(0, { ifAvailable: false })
  assert.ok(await pending(client, get))
  client.close()
  await assert.rejects(get)
})

test('corestore: get by name, by key, by hex; the same key gives the same object', LIMIT, async () => {
  await withClient(async client => {
    const store = client.corestore('a-name')
    assert.equal(store.name, 'a-name')
    await called(cb => store.ready(cb))
    const name = fresh('named')
    const one = store.get({ name })
    await one.ready()
    assert.equal(one.key.length, 32)
    assert.equal(one.discoveryKey.length, 32)
    assert.ok(one.writable)
    assert.equal(one.length, 0)
    assert.equal(store.get(one.key), one)
    assert.equal(store.get(one.key.toString('hex')), one)
    assert.equal(store.get({ key: one.key }), one)
    const random = store.get()
    await random.ready()
    assert.ok(random.writable)
    assert.notDeepEqual(random.key, one.key)

    await withClient(async other => {
      const same = other.corestore('another').get({ name })
      await same.ready()
      assert.deepEqual(same.key, one.key, 'names are global: namespaces are flat')
      await one.append('shared')
      assert.equal((await same.get(0)).toString(), 'shared')
    })
    await store.close()
    assert.ok(one.closed)
    assert.throws(() => store.replicate(), /Cannot call replicate on a RemoteCorestore/)
  })
})

test('corestore: default and namespace', LIMIT, async () => {
  await withClient(async client => {
    const name = fresh('space')
    const first = client.corestore(name).default()
    await first.ready()
    const again = client.corestore(name).default()
    await again.ready()
    assert.deepEqual(again.key, first.key)
    const nested = client.corestore('elsewhere').namespace(name).default()
    await nested.ready()
    assert.deepEqual(nested.key, first.key)
    const anonymous = client.corestore().default()
    await anonymous.ready()
    assert.notDeepEqual(anonymous.key, first.key)
  })
})

test('corestore: the feed event tells of cores, as weak and lazy handles', LIMIT, async () => {
  await withClient(async client => {
    const store = client.corestore()
    const fed = once(store, 'feed')
    const opened = store.get({ name: fresh('fed') })
    await opened.ready()
    const [feed] = await fed
    assert.deepEqual(feed.key, opened.key)
    assert.ok(feed.weak || feed === opened)
    await feed.ready()
    assert.deepEqual(feed.discoveryKey, opened.discoveryKey)
  })
})

test('corestore: another session is not told of it', { ...LIMIT, ...ours }, async () => {
  await withClient(async spy => {
    const heard = []
    spy.corestore().on('feed', feed => heard.push(feed.key))
    await withClient(async client => { await core(client) })
    await spy.status()
    assert.deepEqual(heard, [])
  })
})

test('corestore: weak handles', LIMIT, async () => {
  await withClient(async client => {
    const strong = await core(client)
    await strong.append('here')
    await withClient(async other => {
      const weak = other.corestore().get({ key: strong.key, weak: true })
      await weak.ready()
      assert.ok(weak.weak)
      assert.equal((await weak.get(0)).toString(), 'here')
      await weak.close()
    })
  })
})

test('corestore: an illegal key is an error, and the session goes on', LIMIT, async () => {
  await withClient(async client => {
    const bad = client.corestore().get(Buffer.from('short'))
    await assert.rejects(bad.ready())
    await client.status()
    const good = await core(client)
    assert.equal(await good.append('fine'), 0)
  })
})

test('core: append gives the first index; length and byteLength follow', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    assert.equal(await log.append('hello'), 0)
    assert.equal(await log.append(['world', Buffer.from('again')]), 1)
    assert.deepEqual(await called(cb => log.append('called', cb)), [3])
    assert.equal(log.length, 4)
    assert.equal(log.byteLength, 21)
    assert.equal(await log.append([]), 4, 'nothing appended')
    assert.equal(await log.append(Buffer.alloc(0)), 4, 'an empty block is a block')
    assert.equal(log.length, 5)
    assert.equal((await log.get(4))?.length ?? 0, 0)
    assert.equal((await log.get(2)).toString(), 'again')
  })
})

test('core: append events reach every handle of every session', LIMIT, async () => {
  await withClient(client => withClient(async other => {
    const writer = await core(client)
    const reader = other.corestore().get(writer.key)
    await reader.ready()
    assert.equal(reader.writable, true)
    const [mine, theirs] = [once(writer, 'append'), once(reader, 'append')]
    await writer.append(['a', 'bc'])
    await Promise.all([mine, theirs])
    assert.deepEqual([writer.length, writer.byteLength], [2, 3])
    assert.deepEqual([reader.length, reader.byteLength], [2, 3])
    await reader.append('def')
    assert.equal(reader.length, 3)
    await client.status()
    assert.equal(writer.length, 3)
    assert.equal((await writer.get(2)).toString(), 'def')
  }))
})

test('core: the append event comes before the reply', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    let heard = false
    log.on('append', () => { heard = true })
    await log.append('x')
    assert.ok(heard)
  })
})

test('core: large blocks', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    const blocks = Array.from({ length: 8 }, (_, i) => Buffer.alloc(1 << 20, i))
    assert.equal(await log.append(blocks), 0)
    for (const i of [7, 0, 3]) assert.ok((await log.get(i)).equals(blocks[i]))
    assert.equal(log.byteLength, 8 << 20)
  })
})

test('core: get and its options', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    await log.append([JSON.stringify({ n: 1 }), 'text'])
    assert.equal((await called(cb => log.get(1, cb)))[0].toString(), 'text')
    assert.deepEqual(await log.get(0, { valueEncoding: 'json' }), { n: 1 })
    assert.throws(() => log.get(-1), /seq must be a positive number/)
    await assert.rejects(log.get(5, { wait: false }), /Block not downloaded/)
    await assert.rejects(log.get(5), /Block not available from peers/)
    assert.equal((await log.get(1, { ifAvailable: false })).toString(), 'text')
  })
})

test('core: value encodings', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client, { name: fresh('json'), valueEncoding: 'json' })
    await log.append({ hello: 'world' })
    assert.deepEqual(await log.get(0), { hello: 'world' })
  })
})

test('core: cancel ends a waiting get, and only that', LIMIT, async () => {
  await withClient(async client => {
    const absent = await core(client, { key: randomBytes(32) })
    assert.equal(absent.writable, false)
    const get = absent.get(0, { ifAvailable: false })
    const stays = absent.get(1, { ifAvailable: false })
    stays.catch(() => {})
    assert.equal(typeof get.resourceId, 'number')
    assert.ok(await pending(client, get))
    absent.cancel(get)
    await assert.rejects(get, /Request cancelled/)
    assert.ok(await pending(client, stays))
    assert.throws(() => absent.cancel({}), /Must pass a get return value/)
  })
})

test('core: onwait tells of a get that must wait', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    await log.append('here')
    let waited = null
    await log.get(0, { onwait: seq => { waited = seq } })
    assert.equal(waited, null, 'a block that is here is not waited for')
    const heard = new Promise(resolve => {
      const get = log.get(7, { ifAvailable: false, onwait: resolve })
      get.catch(() => {})
    })
    assert.equal(await heard, 7)
  })
})

test('core: a get that waits is answered by a later append', { ...LIMIT, ...ours }, async () => {
  await withClient(async client => {
    const log = await core(client)
    const get = log.get(0, { ifAvailable: false })
    assert.ok(await pending(client, get))
    await log.append('at last')
    assert.equal((await get).toString(), 'at last')
  })
})

test('core: update', LIMIT, async () => {
  await withClient(client => withClient(async other => {
    const log = await core(client)
    await log.append('a')
    await log.update(1)
    await log.update({ minLength: 1 })
    await assert.rejects(log.update({ ifAvailable: true }), /No update available from peers/)
    await assert.rejects(called(cb => log.update(cb)), /No update available from peers/)
    const reader = other.corestore().get(log.key)
    await reader.ready()
    const longer = reader.update({ ifAvailable: false, hash: false, minLength: 3 })
    assert.ok(await pending(other, longer))
    await log.append(['b', 'c'])
    await longer
    assert.equal(reader.length, 3)
  }))
})

test('core: seek', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    await log.append(['hello', 'big', 'world'])
    assert.deepEqual(await log.seek(0), { seq: 0, blockOffset: 0 })
    assert.deepEqual(await log.seek(6), { seq: 1, blockOffset: 1 })
    assert.deepEqual(await called(cb => log.seek(8, {}, cb)), [2, 0])
    assert.deepEqual(await called(cb => log.seek(9, cb)), [2, 1])
    assert.deepEqual(await log.seek(7, { start: 1, end: 3 }), { seq: 1, blockOffset: 2 })
    assert.deepEqual(await log.seek(13), { seq: 3, blockOffset: 0 }, 'the very end')
    await assert.rejects(log.seek(14), /Seek not available from peers/)
    await assert.rejects(log.seek(99, { wait: false }))
  })
})

test('core: has and downloaded', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    await log.append(['a', 'b', 'c'])
    assert.equal(await log.has(0), true)
    assert.equal(await log.has(3), false)
    assert.deepEqual(await called(cb => log.has(2, cb)), [true])
    assert.equal(await log.downloaded(), 3)
    assert.equal(await log.downloaded(1, 3), 2)
    assert.equal(await log.downloaded(0, 1), 1)
    const absent = await core(client, { key: randomBytes(32) })
    assert.equal(await absent.has(0), false)
    assert.equal(await absent.downloaded(), 0)
  })
})

test('core: undownload ends a waiting download', LIMIT, async () => {
  await withClient(async client => {
    const absent = await core(client, { key: randomBytes(32) })
    for (const range of [3, [1, 5, 2], { start: 0, end: 4, linear: true }, {}, undefined]) {
      const download = absent.download(range)
      assert.equal(typeof download.resourceId, 'number')
      assert.ok(await pending(client, download))
      absent.undownload(download)
      await assert.rejects(download, err => /Download was cancelled/.test(err.message) && err.code === 'ECANCELED')
    }
    assert.throws(() => absent.undownload({}), /Must pass a download return value/)
  })
})

test('core: a download of what is here replies', { ...LIMIT, ...ours }, async () => {
  await withClient(async client => {
    const log = await core(client)
    await log.append(['a', 'b', 'c'])
    await log.download({ start: 0, end: 3 })
    await log.download(1)
    await log.download([0, 2])
    await called(cb => log.download({ start: 1, end: 2 }, cb))
  })
})

test('core: read and write streams', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    const writer = log.createWriteStream({ maxBlockSize: 4 })
    for (const block of ['abc', 'defghi', 'j']) writer.write(Buffer.from(block))
    writer.end()
    await new Promise((resolve, reject) => { writer.on('close', resolve); writer.on('error', reject) })
    assert.deepEqual(await collect(log.createReadStream()), ['abc', 'defg', 'hi', 'j'])
    assert.deepEqual(await collect(log.createReadStream({ start: 1, end: 3 })), ['defg', 'hi'])
    assert.deepEqual(await collect(log.createReadStream({ start: 3, snapshot: true })), ['j'])
    assert.deepEqual(await collect(log.createReadStream({ wait: false, ifAvailable: true })), ['abc', 'defg', 'hi', 'j'])
  })
})

test('core: a live read stream', { ...LIMIT, ...ours }, async () => {
  await withClient(client => withClient(async other => {
    const log = await core(client)
    await log.append('old')
    const reader = other.corestore().get(log.key)
    await reader.ready()
    const live = reader.createReadStream({ live: true, tail: true })
    const heard = []
    const done = new Promise((resolve, reject) => {
      live.on('error', reject)
      live.on('data', block => {
        heard.push(block.toString())
        if (heard.length === 3) resolve()
      })
    })
    await reader.downloaded()
    await log.append('new 1')
    await log.append(['new 2', 'new 3'])
    await done
    assert.deepEqual(heard, ['new 1', 'new 2', 'new 3'])
    live.on('error', () => {})
    live.destroy()
  }))
})

test('core: the lock passes from session to session', LIMIT, async () => {
  await withClient(client => withClient(async other => {
    const mine = await core(client)
    const theirs = other.corestore().get(mine.key)
    assert.throws(() => theirs.lock(), /Cannot acquire a lock for an unopened feed/)
    await theirs.ready()
    const release = await mine.lock()
    const order = []
    const waiting = theirs.lock().then(free => { order.push('theirs'); return free })
    assert.ok(await pending(other, waiting))
    order.push('released')
    release()
    const free = await waiting
    assert.deepEqual(order, ['released', 'theirs'])
    free()
    await new Promise(resolve => mine.lock(done => done(resolve)))
  }))
})

test('core: one session holds several locks', { ...LIMIT, ...ours }, async () => {
  await withClient(client => withClient(async other => {
    const logs = [await core(client), await core(client), await core(client)]
    const releases = []
    for (const log of logs) releases.push(await log.lock())
    for (const [i, log] of logs.entries()) {
      const theirs = other.corestore().get(log.key)
      await theirs.ready()
      const wait = theirs.lock()
      assert.ok(await pending(other, wait))
      releases[i]()
      ;(await wait)()
    }
  }))
})

test('core: a lock goes with its session, and with its core', { ...LIMIT, ...ours }, async () => {
  await withClient(async client => {
    const { waiting } = await withClient(async other => {
      const theirs = await core(other)
      await theirs.lock()
      const mine = client.corestore().get(theirs.key)
      await mine.ready()
      const waiting = mine.lock()
      assert.ok(await pending(client, waiting))
      return { waiting } // wrapped, since a promise returned would be waited for
    })
    ;(await waiting)()

    const handle = await core(client)
    await handle.lock()
    await withClient(async other => {
      const theirs = other.corestore().get(handle.key)
      await theirs.ready()
      const waiting = theirs.lock()
      assert.ok(await pending(other, waiting))
      await handle.close()
      ;(await waiting)()
    })
  })
})

test('core: extensions register, send and go', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    const errors = []
    const extension = log.registerExtension('test/ext', {
      encoding: 'json',
      onmessage () {},
      onerror (err) { errors.push(err) }
    })
    extension.broadcast({ hello: 'nobody' })
    extension.send({ hello: 'you' }, { remotePublicKey: randomBytes(32) })
    const second = log.registerExtension({ name: 'test/other', encoding: 'utf8', onmessage () {} })
    second.broadcast('x')
    extension.destroy()
    second.destroy()
    await client.status()
    assert.equal(await log.append('the session lives'), 0)
    assert.deepEqual(errors, [])
  })
})

test('core: download and upload listeners turn the watches on and off', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    const onDownload = () => {}
    const onUpload = () => {}
    log.on('download', onDownload)
    log.on('upload', onUpload)
    await log.append('x')
    log.removeListener('download', onDownload)
    log.removeListener('upload', onUpload)
    await client.status()
    assert.equal((await log.get(0)).toString(), 'x')
    assert.deepEqual(log.peers, [])
  })
})

test('core: close, and use after it', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    await log.append('x')
    const closed = once(log, 'close')
    await log.close()
    await closed
    assert.ok(log.closed)
    await assert.rejects(log.append('y'))
    await assert.rejects(log.get(0))
    const again = client.corestore().get(log.key)
    await again.ready()
    assert.equal((await again.get(0)).toString(), 'x')
    assert.throws(() => again.replicate(), /Cannot call replicate/)
  })
})

test('core: a core that is not ours takes no append', LIMIT, async () => {
  await withClient(async client => {
    const absent = await core(client, { key: randomBytes(32) })
    await assert.rejects(absent.append('x'), /This feed is not writable. Did you create it\?/)
    await assert.rejects(absent.get(0), /Block not available from peers/)
    await assert.rejects(absent.get(0, { wait: false }), /Block not downloaded/)
  })
})

test('core: eagerUpdate keeps a handle current', LIMIT, async () => {
  await withClient(client => withClient(async other => {
    const log = await core(client)
    const eager = other.corestore().get({ key: log.key, eagerUpdate: true })
    eager.on('update-error', () => {})
    await eager.ready()
    const heard = once(eager, 'append')
    await log.append('x')
    await heard
    assert.equal(eager.length, 1)
    eager.update = () => {} // else the client asks on for ever, its connection gone or not
  }))
})

test('core: a lazy handle opens at first use', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    await log.append('x')
    const lazy = client.corestore().get({ key: log.key, lazy: true })
    assert.equal(lazy.opened, false)
    assert.equal((await lazy.get(0)).toString(), 'x')
    assert.equal(lazy.opened, true)
  })
})

test('core: 1,000 calls in flight come back in order of asking, each with its own', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    const firsts = await Promise.all(Array.from({ length: 1000 }, (_, i) => log.append(`block ${i}`)))
    assert.deepEqual(firsts, Array.from({ length: 1000 }, (_, i) => i))
    const blocks = await Promise.all(firsts.map(i => log.get(i)))
    blocks.forEach((block, i) => assert.equal(block.toString(), `block ${i}`))
  })
})

test('network: configure, status, allStatuses', LIMIT, async () => {
  await withClient(async client => {
    const topic = randomBytes(32)
    assert.equal(await client.network.status(topic), null)
    const set = await client.network.configure(topic, { announce: true, lookup: true, remember: false })
    assert.deepEqual(set.configuration?.discoveryKey ?? set.status?.discoveryKey ?? set.discoveryKey, topic)
    const status = await client.network.status(topic)
    assert.deepEqual([status.announce, status.lookup], [true, true])
    assert.deepEqual(status.discoveryKey, topic)
    const [again] = await called(cb => client.network.status(topic, cb).catch(cb))
    assert.deepEqual(again.discoveryKey, topic)
    const all = await client.network.allStatuses()
    assert.ok(all.some(status => status.discoveryKey.equals(topic)))
    await called(cb => client.network.configure(topic, { announce: false, lookup: true, flush: true }, cb))
    assert.deepEqual([(await client.network.status(topic)).announce, (await client.network.status(topic)).lookup], [false, true])
    await client.network.configure(topic, { announce: true, lookup: true, overwrite: false })
    assert.equal((await client.network.status(topic)).announce, false, 'overwrite: false changes nothing')
    await client.network.configure(topic, { announce: false, lookup: false })
    assert.equal(await client.network.status(topic), null)
    await assert.rejects(client.network.configure(Buffer.from('short'), { announce: true }), /Invalid discovery key/)
  })
})

test('network: votes of sessions are added up, and go with their session', LIMIT, async () => {
  await withClient(async client => {
    const topic = randomBytes(32)
    await withClient(async other => {
      await client.network.configure(topic, { announce: false, lookup: true })
      await other.network.configure(topic, { announce: true, lookup: false })
      const status = await client.network.status(topic)
      assert.deepEqual([status.announce, status.lookup], [true, true])
    })
    for (let i = 0; ; i++) {
      const status = await client.network.status(topic)
      if (!status.announce) {
        assert.equal(status.lookup, true)
        break
      }
      assert.ok(i < 200, 'the vote of the session that left still counts')
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  })
})

test('network: copyFrom fills what is not said', { ...LIMIT, ...ours }, async () => {
  await withClient(async client => {
    const [from, to] = [randomBytes(32), randomBytes(32)]
    await client.network.configure(from, { announce: true, lookup: false })
    await client.network.configure(to, { copyFrom: from })
    const status = await client.network.status(to)
    assert.deepEqual([status.announce, status.lookup], [true, false])
    await assert.rejects(client.network.configure(to, { copyFrom: Buffer.from('short') }), /Must copy from a valid discovery key/)
  })
})

test('network: configure takes a core; replicate seeds one', LIMIT, async () => {
  await withClient(async client => {
    const log = await core(client)
    await client.network.configure(log, { announce: false, lookup: true })
    assert.equal((await client.network.status(log.discoveryKey)).lookup, true)
    const other = await core(client)
    await client.replicate(other)
    assert.equal((await client.network.status(other.discoveryKey)).announce, true)
    await called(cb => client.replicate(other, cb))
  })
})

test('network: extensions register, send and go', LIMIT, async () => {
  await withClient(async client => {
    await called(cb => client.network.ready(cb))
    const extension = client.network.registerExtension('test/net', { encoding: 'utf8', onmessage () {} })
    extension.broadcast('hello nobody')
    if (!classic) extension.send('hello', { remotePublicKey: randomBytes(32) })
    extension.destroy()
    const [statuses] = await called(cb => client.network.allStatuses(cb).catch(cb))
    assert.ok(Array.isArray(statuses))
  })
})

test('every public method was called; stop ends the server', LIMIT, async () => {
  const client = connect()
  await client.ready()
  const closed = new Promise(resolve => client._client.on('close', resolve))
  client._client.on('error', () => {})
  await client.stop()
  await closed
  await assert.rejects(async () => client.status(), /RPC stream destroyed/)
  const late = connect()
  await assert.rejects(late.ready())
  assert.deepEqual(coverage.missing(), [])
  client.close()
  late.close()
})
