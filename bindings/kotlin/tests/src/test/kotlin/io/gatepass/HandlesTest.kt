// Nothing of the native library is left behind.

package io.gatepass

import io.gatepass.ffi.ffiLiveHandles
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class HandlesTest {
    @Test
    fun `no handle is left when everything is closed or gone`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            repeat(3) { gatepass.signIn().signOut(SignOut.LOCAL) }
            gatepass.signIn()
            repeat(100) { gatepass.session() }
            gatepass.beginSignIn()
        }
        // Sessions that were replaced, and the sign-in that nobody closed, go with the garbage.
        repeat(500) {
            if (ffiLiveHandles() == 0uL) return@runBlocking
            System.gc()
            delay(20)
        }
        assertEquals(0uL, ffiLiveHandles())
    }
}
