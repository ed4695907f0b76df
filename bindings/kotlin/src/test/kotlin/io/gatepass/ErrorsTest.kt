// What goes wrong, as Kotlin sees it: typed, never empty, and without what a platform's exceptions say.

package io.gatepass

import io.gatepass.core.FfiCommitOutcome
import io.gatepass.core.FfiErrorDetails
import io.gatepass.core.FfiException
import io.gatepass.core.FfiExtraParameter
import io.gatepass.core.FfiHttpRequest
import io.gatepass.core.FfiHttpResponse
import io.gatepass.core.FfiHttpTransport
import io.gatepass.core.FfiSecureStorage
import io.gatepass.core.FfiSessionState
import io.gatepass.core.FfiSignInOptions
import io.gatepass.core.FfiStorageFailure
import io.gatepass.core.FfiStored
import java.net.ServerSocket
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

private const val SECRET = "hunter2-refresh-token"

class ErrorsTest {
    @Test
    fun `a callback that is not ours names the clause and leaves the sign-in alone`() = runBlocking<Unit> {
        World().use { world ->
            val client = world.client()
            val pending = client.beginSignIn(FfiSignInOptions())
            val error = failureOf { client.resumeSignIn("https://app.example.com/callback?code=x&state=$SECRET") }
            assertEquals("protocol", error.kind)
            assertEquals("callback", error.stage)
            assertNotNull(error.clause)
            assertEquals("none", error.nextStep)
            assertFalse(SECRET in everythingIn(error))
            assertEquals(0uL, world.tokenRequests())

            client.resumeSignIn(world.server.browserSignIn(pending.authorizationUrl))
            assertEquals(FfiSessionState.SignedIn, client.state())
        }
    }

    @Test
    fun `an exception shows the message, and says where to look`() = runBlocking<Unit> {
        World().use { world ->
            val error = runCatching { world.client().resumeSignIn("https://app.example.com/callback?code=x&state=y") }
            val thrown = error.exceptionOrNull() as FfiException.Failed
            assertTrue(thrown.details.message in thrown.message, thrown.message)
            assertEquals(thrown.details.message, thrown.toString())
            assertEquals("network", failureOf { world.client(issuer = closedPort()).beginSignIn(FfiSignInOptions()) }.kind)
        }
    }

    @Test
    fun `what the server says arrives, apart from our own words`() = runBlocking<Unit> {
        World().use { world ->
            val client = world.client()
            val session = world.signIn(client)
            world.server.revokeEverything()
            val error = failureOf { session.refresh() }
            assertEquals("session_ended", error.kind)
            assertEquals("expired_or_revoked", error.endReason)
            assertEquals(FfiSessionState.Ended("expired_or_revoked"), client.state())
            assertNull(session.peek())
        }
    }

    @Test
    fun `a configuration that cannot work is refused by the constructor`() {
        World().use { world ->
            val thrown = assertThrows(FfiException.Failed::class.java) {
                world.client(issuer = "http://login.example.com")
            }
            assertEquals("configuration", thrown.details.kind)
            assertEquals("fix_configuration", thrown.details.nextStep)
            runBlocking {
                val extra = FfiSignInOptions(extra = listOf(FfiExtraParameter("state", "mine")))
                assertEquals("extra_reserved", failureOf { world.client().beginSignIn(extra) }.code)
            }
        }
    }

    @Test
    fun `nobody listening means that nothing was sent`() = runBlocking<Unit> {
        World().use { world ->
            val error = failureOf { world.client(issuer = closedPort()).beginSignIn(FfiSignInOptions()) }
            assertEquals("network", error.kind)
            assertEquals("not_sent", error.delivery)
            assertEquals("connect_failed", error.code)
            assertTrue(error.isRetryable)
        }
    }

    @Test
    fun `an exception of the platform's HTTP is an unknown outcome, and its text is dropped`() = runBlocking<Unit> {
        World().use { world ->
            val client = world.client(http = ThrowingHttp(IllegalStateException("POST $SECRET")))
            val error = failureOf { client.beginSignIn(FfiSignInOptions()) }
            assertEquals("network", error.kind)
            assertEquals("unknown_outcome", error.delivery)
            assertEquals("discovery", error.stage)
            assertFalse(SECRET in everythingIn(error))
        }
    }

    @Test
    fun `storage that is locked says so, and nobody is signed out`() = runBlocking<Unit> {
        World().use { world ->
            val client = world.client(storage = ThrowingStorage { FfiStorageFailure.Locked() })
            val error = failureOf { client.session() }
            assertEquals("storage_locked", error.kind)
            assertEquals("storage", error.stage)
            assertEquals(FfiSessionState.StorageLocked, client.state())

            val lost = world.client(storage = ThrowingStorage { FfiStorageFailure.Lost() })
            assertEquals("storage_lost", failureOf { lost.session() }.kind)
        }
    }

    @Test
    fun `an exception of the platform's storage is a failure, and its text is dropped`() = runBlocking<Unit> {
        World().use { world ->
            // An Error too, which UniFFI's Kotlin does not catch: the JVM must survive it and the call must end.
            for (thrown in listOf(IllegalStateException(SECRET), NotImplementedError(SECRET))) {
                val client = world.client(storage = ThrowingStorage { thrown })
                val read = failureOf { client.session() }
                assertEquals("storage_unavailable", read.code)
                val written = failureOf { client.beginSignIn(FfiSignInOptions()) }
                assertEquals("storage_write_failed", written.kind)
                assertFalse(SECRET in everythingIn(read) + everythingIn(written))
            }
        }
    }

    private fun everythingIn(error: FfiErrorDetails) =
        "$error ${error.kind} ${error.code} ${error.stage} ${error.clause} ${error.nextStep} ${error.server} " +
            "${error.delivery} ${error.endReason} ${error.diagnosticId} ${error.message}"

    /** An issuer that nobody answers for. */
    private fun closedPort(): String = ServerSocket(0).use { "http://127.0.0.1:${it.localPort}" }
}

private class ThrowingHttp(private val what: Throwable) : FfiHttpTransport {
    override suspend fun send(request: FfiHttpRequest): FfiHttpResponse = throw what
}

private class ThrowingStorage(private val what: () -> Throwable) : FfiSecureStorage {
    override fun load(key: String): FfiStored? = throw what()

    override fun commit(key: String, expected: ULong, bytes: ByteArray): FfiCommitOutcome = throw what()

    override fun remove(key: String, expected: ULong): FfiCommitOutcome = throw what()

    override fun list(prefix: String): List<String> = throw what()

    override fun place() = "nowhere"
}
