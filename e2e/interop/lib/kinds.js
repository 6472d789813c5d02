'use strict'
// Cores of every kind of manifest, and how each is signed.

const corestore = require.resolve('corestore7')
const from = (name) => require(require.resolve(name, { paths: [corestore] }))
const crypto = from('hypercore-crypto')
const multisig = from('hypercore/lib/multisig')

// The key pairs of a core: any number of them from its name.
function keyPairs (name, count) {
  return Array.from({ length: count }, (_, i) => crypto.keyPair(crypto.data(Buffer.from(name + ' ' + i))))
}

// Opens the core `name` of that kind, to be written.
async function create (store, kind, name) {
  const [one, two, three] = keyPairs(name, 3)
  let core
  let signers = null
  if (kind === 'v1') {
    core = store.get({ name })
  } else if (kind === 'v0') {
    // The signer's namespace is what its signatures are bound to.
    const namespace = crypto.data(Buffer.from('namespace of ' + name))
    core = store.get({ manifest: { version: 0, signers: [{ publicKey: one.publicKey, namespace }] }, keyPair: one })
  } else if (kind === 'compat') {
    const manifest = { version: 0, signers: [{ publicKey: one.publicKey }] }
    core = store.get({ key: one.publicKey, manifest, keyPair: one })
  } else if (kind === 'multi') {
    signers = [one, two, three]
    core = store.get({ manifest: { quorum: 2, signers: signers.map(({ publicKey }) => ({ publicKey })) } })
  } else {
    throw new Error('No such kind: ' + kind)
  }
  await core.ready()
  return new Writer(core, signers)
}

class Writer {
  constructor (core, signers) {
    this.core = core
    this.signers = signers
    this.turn = 0
  }

  async append (blocks) {
    if (this.signers === null) return this.core.append(blocks)
    const tree = this.core.state.createTreeBatch()
    for (const block of blocks) tree.append(block)
    return this.core.append(blocks, { signature: this._sign(tree.signable(this.core.key)) })
  }

  async truncate (length) {
    if (this.signers === null) return this.core.truncate(length)
    const signature = this._sign(await this.core.signable(length, this.core.fork + 1))
    return this.core.truncate(length, { signature })
  }

  // Two of the three sign, others each time.
  _sign (signable) {
    const proofs = [this.turn % 3, (this.turn + 1) % 3].map((signer) => ({
      signer,
      signature: crypto.sign(signable, this.signers[signer].secretKey),
      patch: 0,
      nodes: null
    }))
    this.turn++
    return multisig.assemble(proofs)
  }
}

module.exports = { create }
