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
            // One that nobody keeps, and nobody closes.
            forget(world)
        }
        // Sessions that were replaced, and the sign-in that nobody closed, go with the garbage.
        repeat(500) {
            if (ffiLiveHandles() == 0uL) return@runBlocking
            System.gc()
            delay(20)
        }
        assertEquals(0uL, ffiLiveHandles())
    }

    private suspend fun forget(world: World) {
        val config = GatepassConfig(world.server.issuer(), world.server.clientId()).apply {
            allowHttpOnLoopback(AllowHttpOnLoopback)
            redirect = REDIRECT
            browser = world.browser
        }
        Gatepass(config).signIn().refresh()
    }
}
