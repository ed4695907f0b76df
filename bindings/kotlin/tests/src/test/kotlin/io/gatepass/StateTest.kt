// What is told, and in which order.

package io.gatepass

import java.util.Collections
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class StateTest {
    @Test
    fun `every state, in order, and each before its caller goes on`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            val seen = Collections.synchronizedList(ArrayList<SessionState>())
            val watching = launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
                gatepass.state.collect { seen += it }
            }
            assertNull(gatepass.session())
            val session = gatepass.signIn()
            repeat(3) {
                session.refresh()
                assertEquals(session.accessToken(), session.peek())
            }
            session.signOut(SignOut.LOCAL)
            assertEquals(SessionState.SignedOut, gatepass.state.value)
            gatepass.signIn()
            world.server.revokeEverything()
            failureOf<GatepassException.SessionEnded> { gatepass.session()!!.refresh() }
            watching.cancel()
            assertEquals(
                listOf(
                    SessionState.Loading, SessionState.SignedOut, SessionState.SignedIn, SessionState.SignedOut,
                    SessionState.SignedIn, SessionState.Ended(EndReason.EXPIRED_OR_REVOKED),
                ),
                seen.toList(),
            )
        }
    }

    @Test
    fun `events come after the state that they tell of, and may call back in`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            val seen = Collections.synchronizedList(ArrayList<String>())
            val watching = launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
                gatepass.events.collect { event ->
                    // On the core's own thread, which must not find a lock that is held.
                    seen += "${event.javaClass.simpleName} in ${gatepass.state.value}"
                    gatepass.cancelSignIn()
                }
            }
            val session = gatepass.signIn()
            session.refresh()
            session.signOut(SignOut.LOCAL)
            gatepass.drain()
            until("three events") { seen.size == 3 }
            watching.cancel()
            assertEquals(
                listOf("SignedIn in SignedIn", "Refreshed in SignedIn", "SignedOut in SignedOut"),
                seen.toList(),
            )
        }
    }

    @Test
    fun `a state is a value`() {
        assertEquals(SessionState.Ended(EndReason.STORAGE_LOST), SessionState.Ended(EndReason.STORAGE_LOST))
        assertEquals("Ended(STORAGE_LOST)", SessionState.Ended(EndReason.STORAGE_LOST).toString())
        assertTrue("SignedIn" in SessionState.SignedIn.toString())
    }
}
