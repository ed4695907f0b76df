// Secure storage in memory, to the contract of the port: conditional commits, generations that never repeat.

package io.gatepass

open class MemoryStorage : SecureStorage {
    /** A record, or the memory of one: `bytes` is null once it is removed, and its generation stays. */
    private class Slot(val bytes: ByteArray?, val generation: Long)

    private val slots = HashMap<String, Slot>()

    override val place: String = "memory@${System.identityHashCode(this)}"

    override fun load(key: String): StoredRecord? = synchronized(slots) { slots[key]?.stored() }

    override fun commit(key: String, expected: Long, bytes: ByteArray): CommitOutcome = change(key, expected, bytes)

    override fun remove(key: String, expected: Long): CommitOutcome = change(key, expected, null)

    override fun list(prefix: String): List<String> = synchronized(slots) {
        slots.filter { it.key.startsWith(prefix) && it.value.bytes != null }.keys.toList()
    }

    private fun change(key: String, expected: Long, bytes: ByteArray?): CommitOutcome = synchronized(slots) {
        val current = slots[key]?.stored()
        if ((current?.generation ?: 0) != expected) return CommitOutcome.Conflict(current)
        val generation = (slots[key]?.generation ?: 0) + 1
        slots[key] = Slot(bytes, generation)
        CommitOutcome.Committed(generation)
    }

    private fun Slot.stored() = bytes?.let { StoredRecord(it, generation) }
}
