'use strict'
// The rows of `scripts/bench rpc`, driven by npm @hyperspace/client against
// whatever server listens at HYPERSPACE_SOCKET.
//
//   node bench-rpc.js [SCALE]     SCALE 1 is the full run, 0.1 a tenth of it
//
// Prints {row: {rate, busy}}: what was done a second, and the share of one
// processor that this client kept busy meanwhile. The Rust driver of the same rows
// is e2e/src/bin/bench/rpc_driver.rs.

const { randomBytes } = require('node:crypto')
const Client = require('@hyperspace/client')

const scale = Number(process.argv[2] ?? 1)
const SMALL = Buffer.alloc(100, 'a')
const LARGE = randomBytes(64 * 1024)
const rows = {}

// Does `work`, which comes to `amount` of whatever the row counts.
async function row (name, amount, work) {
  const [start, cpu] = [process.hrtime.bigint(), process.cpuUsage()]
  await work()
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  const { user, system } = process.cpuUsage(cpu)
  rows[name] = { rate: amount / seconds, busy: (user + system) / 1e6 / seconds }
}

// Calls `work(0)` to `work(count - 1)`, `width` of them at a time.
async function inFlight (count, width, work) {
  let next = 0
  const worker = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: width }, worker))
}

async function main () {
  const client = new Client()
  await client.ready()
  const store = client.corestore()
  const run = randomBytes(4).toString('hex')
  const open = async name => {
    const core = store.get({ name: `bench-${run}-${name}` })
    await core.ready()
    return core
  }
  const scaled = count => Math.max(1, Math.round(count * scale))

  const single = await open('single')
  const appends = scaled(20_000)
  await row('append', appends, async () => {
    for (let i = 0; i < appends; i++) await single.append(SMALL)
  })

  const batched = await open('batched')
  const batches = scaled(200)
  await row('append_batch', batches * 1000, async () => {
    const batch = Array(1000).fill(SMALL)
    for (let i = 0; i < batches; i++) await batched.append(batch)
  })

  const large = await open('large')
  const larges = scaled(256)
  await row('append_large', larges, async () => { // MiB: 16 blocks of 64 KiB
    const batch = Array(16).fill(LARGE)
    for (let i = 0; i < larges; i++) await large.append(batch)
  })

  await row('read_large', larges, () => inFlight(larges * 16, 16, async seq => {
    const block = await large.get(seq)
    if (block.length !== LARGE.length) throw new Error(`block ${seq} is not what was appended`)
  }))

  const gets = Math.min(scaled(20_000), batches * 1000)
  await row('get_sequential', gets, async () => {
    for (let i = 0; i < gets; i++) await batched.get(i)
  })

  const randoms = scaled(100_000)
  await row('get_random', randoms, () => inFlight(randoms, 64, i => batched.get((i * 7919) % (batches * 1000))))

  const cores = scaled(1000)
  await row('open', cores, async () => {
    for (let i = 0; i < cores; i++) await open(`core-${i}`)
  })

  console.log(JSON.stringify(rows))
  process.exit(0)
}

main().catch(err => {
  console.error(err.stack)
  process.exit(1)
})
