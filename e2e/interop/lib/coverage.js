'use strict'
// Counts the calls of an object's public methods, so that a test can prove that
// it has exercised every one of them.

const COUNTED = Symbol('counted')

module.exports = class Coverage {
  constructor () {
    this.calls = new Map()
  }

  // Counts the calls of every public method that `target` itself has: a prototype,
  // or an object whose methods are its own properties.
  watch (label, target) {
    for (const name of Object.getOwnPropertyNames(target)) {
      const { value } = Object.getOwnPropertyDescriptor(target, name)
      if (typeof value !== 'function' || name === 'constructor' || name.startsWith('_') || value[COUNTED]) continue
      const entry = `${label}.${name}`
      const calls = this.calls
      calls.set(entry, calls.get(entry) ?? 0)
      target[name] = function (...args) {
        calls.set(entry, calls.get(entry) + 1)
        return value.apply(this, args)
      }
      target[name][COUNTED] = true
    }
  }

  missing () {
    return [...this.calls].filter(([, count]) => count === 0).map(([entry]) => entry)
  }
}
