// Secure storage in memory, to the contract of the core: conditional commits, generations that never repeat.

package io.gatepass

import io.gatepass.core.FfiCommitOutcome
import io.gatepass.core.FfiSecureStorage
import io.gatepass.core.FfiStored

class MemoryStorage : FfiSecureStorage {
    /** A record, or the memory of one: `bytes` is null once it is removed, and its generation stays. */
    private class Slot(val bytes: ByteArray?, val generation: ULong)

    private val slots = HashMap<String, Slot>()

    @Synchronized
    override fun load(key: String): FfiStored? = slots[key]?.stored()

    @Synchronized
    override fun commit(key: String, expected: ULong, bytes: ByteArray) = change(key, expected, bytes)

    @Synchronized
    override fun remove(key: String, expected: ULong) = change(key, expected, null)

    @Synchronized
    override fun list(prefix: String) = slots.filter { (key, slot) -> key.startsWith(prefix) && slot.bytes != null }.keys.toList()

    override fun place() = "memory@${System.identityHashCode(this)}"

    private fun change(key: String, expected: ULong, bytes: ByteArray?): FfiCommitOutcome {
        val current = slots[key]?.stored()
        if ((current?.generation ?: 0uL) != expected) return FfiCommitOutcome.Conflict(current)
        val generation = (slots[key]?.generation ?: 0uL) + 1uL
        slots[key] = Slot(bytes, generation)
        return FfiCommitOutcome.Committed(generation)
    }

    private fun Slot.stored() = bytes?.let { FfiStored(it, generation) }
}
