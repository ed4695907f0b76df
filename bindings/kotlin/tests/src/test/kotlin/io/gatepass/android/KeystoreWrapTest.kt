// What is wrapped by a keystore that fails in every way it can.

package io.gatepass.android

import io.gatepass.SessionState
import io.gatepass.SessionStorage
import io.gatepass.StorageFailure
import io.gatepass.World
import io.gatepass.awaitState
import io.gatepass.failureOf
import io.gatepass.GatepassException
import java.io.File
import java.nio.file.Files
import java.security.KeyStoreException
import java.security.ProviderException
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

/** A keystore in memory. What it throws is said by the test. */
internal class TestKeystore : KeyPlace {
    var unlocked = true
    var key: SecretKey? = null
    var meaning = Verdict.UNKNOWN
    var failures = 0
    var asked = 0
    var made = 0
    var thrown: () -> Exception = { ProviderException("keystore") }

    override fun isUnlocked() = unlocked

    override fun find(): SecretKey? {
        asked += 1
        if (failures > 0) {
            failures -= 1
            throw thrown()
        }
        return key
    }

    override fun make(): SecretKey {
        made += 1
        return KeyGenerator.getInstance("AES").apply { init(256) }.generateKey().also { key = it }
    }

    override fun verdict(e: Throwable) = meaning
}

class KeystoreWrapTest {
    private val place = TestKeystore()
    private val pauses = ArrayList<Long>()
    private val wrap = KeystoreWrap(place, { pauses += it })
    private val dataKey = ByteArray(32) { it.toByte() }

    private fun reason(call: () -> Unit) = assertThrows<StorageFailure>(call).reason

    @Test
    fun `what is wrapped comes back, in another process too`() {
        val wrapped = wrap.wrap(dataKey)
        assertArrayEquals(dataKey, wrap.unwrap(wrapped))
        assertArrayEquals(dataKey, KeystoreWrap(place).unwrap(wrapped))
        assertEquals(1, place.made)
        // The nonce is the keystore's, and new each time.
        assert(!wrapped.contentEquals(wrap.wrap(dataKey)))
    }

    @Test
    fun `a keystore that says for a moment that there is no key is asked again`() {
        val wrapped = wrap.wrap(dataKey)
        val kept = place.key
        place.key = null
        val back = KeystoreWrap(place, { place.key = kept })
        assertArrayEquals(dataKey, back.unwrap(wrapped))
        assertEquals(1, place.made)
    }

    @Test
    fun `trouble that passes is waited for`() {
        val wrapped = wrap.wrap(dataKey)
        place.failures = 4
        assertArrayEquals(dataKey, wrap.unwrap(wrapped))
        assertEquals(listOf(50L, 200L, 500L, 1_250L), pauses)
    }

    @Test
    fun `trouble that stays loses nothing`() {
        val wrapped = wrap.wrap(dataKey)
        for (exception in listOf(ProviderException("binder"), KeyStoreException("-3"), IllegalStateException())) {
            place.thrown = { exception }
            place.failures = 99
            assertEquals(StorageFailure.Reason.FAILED, reason { wrap.unwrap(wrapped) })
            place.failures = 0
            assertArrayEquals(dataKey, wrap.unwrap(wrapped))
        }
        assertEquals(1, place.made)
    }

    @Test
    fun `pl_31 a key that is gone for good is lost at once, and made anew`() {
        val wrapped = wrap.wrap(dataKey)
        place.meaning = Verdict.GONE
        place.failures = 1
        assertEquals(StorageFailure.Reason.LOST, reason { wrap.unwrap(wrapped) })
        assertEquals(emptyList<Long>(), pauses)
        place.failures = 1
        val again = wrap.wrap(dataKey)
        assertEquals(2, place.made)
        assertArrayEquals(dataKey, wrap.unwrap(again))
    }

    @Test
    fun `pl_32 what another key wrapped is lost, and so is what is none`() {
        val wrapped = wrap.wrap(dataKey)
        place.make()
        assertEquals(StorageFailure.Reason.LOST, reason { wrap.unwrap(wrapped) })
        place.key = null
        assertEquals(StorageFailure.Reason.LOST, reason { wrap.unwrap(wrapped) })
        for (bytes in listOf(ByteArray(0), ByteArray(1), ByteArray(40), byteArrayOf(1, 127, 3), byteArrayOf(1, -1, 3))) {
            assertEquals(StorageFailure.Reason.LOST, reason { wrap.unwrap(bytes) })
        }
        for (cut in 0 until wrapped.size) {
            assertEquals(StorageFailure.Reason.LOST, reason { wrap.unwrap(wrapped.copyOf(cut)) })
        }
    }

    @Test
    fun `before the first unlock it is locked, and the keystore is not asked`() {
        place.unlocked = false
        assertEquals(StorageFailure.Reason.LOCKED, reason { wrap.wrap(dataKey) })
        place.unlocked = true
        val wrapped = wrap.wrap(dataKey)
        place.meaning = Verdict.LOCKED
        place.failures = 1
        assertEquals(StorageFailure.Reason.LOCKED, reason { wrap.unwrap(wrapped) })
    }

    @Test
    fun `a key that never works again is replaced when somebody signs in`() {
        wrap.wrap(dataKey)
        place.failures = 99
        val again = wrap.wrap(dataKey)
        assertEquals(2, place.made)
        place.failures = 0
        assertArrayEquals(dataKey, wrap.unwrap(again))
    }

    @Test
    fun `the main thread is refused before the keystore is asked`() {
        val guarded = KeystoreWrap(place, offMainThread = { error("main thread") })
        assertThrows<IllegalStateException> { guarded.wrap(dataKey) }
        assertEquals(0, place.asked)
    }

    /** The whole way: façade, core, sealed files, this. */
    @Test
    fun `a session lives in sealed files and ends with its key, without a crash`() = runBlocking<Unit> {
        val directory = Files.createTempDirectory("gatepass").toFile()
        try {
            World().use { world ->
                val storage = { SessionStorage.wrapped(File(directory, "gatepass").path, KeystoreWrap(place, {})) }
                val first = world.gatepass { this.storage = storage() }
                val token = first.signIn().accessToken().value
                first.drain()
                for (file in directory.walk().filter { it.isFile }) {
                    assert(token !in file.readText(Charsets.ISO_8859_1)) { "$file" }
                }
                val asked = place.asked
                val next = world.gatepass { this.storage = storage() }
                assertEquals(token, next.session()?.accessToken()?.value)
                assertEquals(1, place.asked - asked)

                // Locked: nothing is lost.
                place.unlocked = false
                failureOf<GatepassException.StorageLocked> { runBlocking { world.gatepass { this.storage = storage() }.session() } }
                place.unlocked = true

                // A backup on another phone: the records without their key.
                place.key = null
                val restored = world.gatepass { this.storage = storage() }
                failureOf<GatepassException> { runBlocking { restored.session()?.accessToken() ?: error("nobody") } }
                val session = restored.signIn()
                assertNotNull(session.accessToken())
                restored.awaitState(SessionState.SignedIn)
                val later = world.gatepass { this.storage = storage() }
                assertNotNull(later.session()?.accessToken())
            }
        } finally {
            directory.deleteRecursively()
        }
    }
}
