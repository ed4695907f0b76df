// Every kind of failure, as Kotlin sees it: typed, never empty, and without what a platform's exceptions say.

package io.gatepass

import io.gatepass.ffi.FfiErrorDetails
import java.net.ServerSocket
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

private const val SECRET = "hunter2-refresh-token"

class ErrorsTest {
    @Test
    fun `Configuration, before anything is sent`() = runBlocking<Unit> {
        World().use { world ->
            val insecure = failureOf<GatepassException.Configuration> { world.gatepass("http://login.example.com") }
            assertEquals("issuer_insecure", insecure.code)
            assertEquals(NextStep.FIX_CONFIGURATION, insecure.nextStep)
            val gatepass = world.gatepass()
            for ((code, options) in mapOf(
                "extra_reserved" to SignInOptions().extra("state", "mine"),
                "scope_malformed" to SignInOptions(scope = listOf("two words")),
                "claims_malformed" to SignInOptions(claimsJson = "{"),
            )) {
                assertEquals(code, failureOf<GatepassException.Configuration> { gatepass.signIn(options) }.code)
            }
            val files = SessionStorage.encryptedFiles("", FileKey.besideTheRecords())
            assertEquals(
                "storage_directory",
                failureOf<GatepassException.Configuration> { world.gatepass { storage = files } }.code,
            )
            val short = SessionStorage.encryptedFiles("unused", FileKey.bytes(ByteArray(31)))
            assertEquals(
                "storage_key_length",
                failureOf<GatepassException.Configuration> { world.gatepass { storage = short } }.code,
            )
        }
    }

    @Test
    fun `Cancelled, Interrupted, NoBrowser, by the browser`() = runBlocking<Unit> {
        World().use { world ->
            fun by(what: () -> Throwable) = world.gatepass { browser = TestBrowser { throw what() } }
            val declined = by { BrowserFailure(BrowserFailure.Reason.CANCELLED) }
            assertEquals(NextStep.NONE, failureOf<GatepassException.Cancelled> { declined.signIn() }.nextStep)
            val none = by { BrowserFailure(BrowserFailure.Reason.NO_BROWSER) }
            assertEquals(NextStep.ASK_USER, failureOf<GatepassException.NoBrowser> { none.signIn() }.nextStep)
            val refused = by { BrowserFailure(BrowserFailure.Reason.REFUSED) }
            failureOf<GatepassException.Configuration> { refused.signIn() }
            val broken = by { IllegalStateException(SECRET) }
            val error = failureOf<GatepassException.Interrupted> { broken.signIn() }
            assertTrue(error.isRetryable)
            assertFalse(SECRET in everythingIn(error))
        }
    }

    @Test
    fun `Superseded, by a newer sign-in, and Cancelled, by the app`() = runBlocking<Unit> {
        World().use { world ->
            val opened = CompletableDeferred<Unit>()
            val gatepass = world.gatepass {
                browser = TestBrowser {
                    opened.complete(Unit)
                    null
                }
            }
            val first = async(Dispatchers.Default) { failureOf<GatepassException.Superseded> { gatepass.signIn() } }
            opened.await()
            gatepass.beginSignIn().use { second ->
                first.await()
                gatepass.cancelSignIn()
                failureOf<GatepassException.Cancelled> { second.await() }
            }
        }
    }

    @Test
    fun `FlowExpired, in time`() = runBlocking<Unit> {
        World(virtualTime = true).use { world ->
            val gatepass = world.gatepass { signInTimeout(2, TimeUnit.MINUTES) }
            gatepass.beginSignIn().use { pending ->
                world.server.advance(120_000uL)
                val error = failureOf<GatepassException.FlowExpired> { pending.await() }
                assertEquals(NextStep.SIGN_IN_AGAIN, error.nextStep)
            }
        }
    }

    @Test
    fun `Protocol and AlreadyHandled, by the redirect`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            gatepass.beginSignIn().use { pending ->
                val error = failureOf<GatepassException.Protocol> {
                    gatepass.resumeSignIn("$REDIRECT?code=x&state=$SECRET")
                }
                assertEquals("callback", error.stage)
                assertNotNull(error.clause)
                assertNotNull(error.diagnosticId)
                assertFalse(SECRET in everythingIn(error))
                assertEquals(0, world.tokenRequests())

                val redirect = world.server.browserSignIn(pending.authorizationUrl)
                world.server.holdTokenRequest().use { gate ->
                    val first = async(Dispatchers.Default) { gatepass.resumeSignIn(redirect) }
                    gate.arrived(1uL)
                    val again = failureOf<GatepassException.AlreadyHandled> { gatepass.resumeSignIn(redirect) }
                    assertEquals(NextStep.NONE, again.nextStep)
                    gate.release()
                    assertEquals(first.await(), pending.await())
                }
                assertEquals(SessionState.SignedIn, gatepass.state.value)
            }
        }
    }

    @Test
    fun `RedirectNotCaptured, on a port that is taken`() = runBlocking<Unit> {
        World().use { world ->
            ServerSocket(0, 1, java.net.InetAddress.getByName("127.0.0.1")).use { v4 ->
                ServerSocket(v4.localPort, 1, java.net.InetAddress.getByName("::1")).use {
                    val gatepass = world.gatepass { redirect = "http://127.0.0.1:${v4.localPort}/callback" }
                    failureOf<GatepassException.RedirectNotCaptured> { gatepass.beginSignIn() }
                }
            }
        }
    }

    @Test
    fun `Server, with its own words`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            gatepass.beginSignIn().use { pending ->
                val denied = world.server.browserDeny(pending.authorizationUrl)
                val error = failureOf<GatepassException.Cancelled> { gatepass.resumeSignIn(denied) }
                assertEquals("access_denied", error.server!!.error)
            }
            world.server.refuseNext("token", 400u, "invalid_client")
            val refused = failureOf<GatepassException.Server> { gatepass.signIn() }
            assertEquals("invalid_client", refused.server!!.error)
            assertEquals(400, refused.server!!.status)
            assertEquals("token_exchange", refused.stage)
            assertEquals(NextStep.FIX_CONFIGURATION, refused.nextStep)
        }
    }

    @Test
    fun `ProtectionUnavailable, without S256`() = runBlocking<Unit> {
        World().use { world ->
            world.server.stopOfferingS256()
            failureOf<GatepassException.ProtectionUnavailable> { world.gatepass().signIn() }
        }
    }

    @Test
    fun `Network, not sent and outcome unknown, by the library and by the app`() = runBlocking<Unit> {
        World().use { world ->
            for (http in listOf(null, OkHttpTransport())) {
                val nobody = world.gatepass(closedPort()) { transport = http }
                val error = failureOf<GatepassException.Network> { nobody.signIn() }
                assertEquals(Delivery.NOT_SENT, error.delivery)
                assertEquals("connect_failed", error.code)
                assertTrue(error.isRetryable)

                val gatepass = world.gatepass { transport = http }
                world.server.loseNextTokenAnswer()
                val lost = failureOf<GatepassException.Network> { gatepass.signIn() }
                assertEquals(Delivery.UNKNOWN_OUTCOME, lost.delivery)
                assertEquals("token_exchange", lost.stage)
                assertEquals(NextStep.SIGN_IN_AGAIN, lost.nextStep)
            }
            // An Error too, of which UniFFI's Kotlin would tell nobody.
            for (thrown in listOf(IllegalStateException(SECRET), NotImplementedError(SECRET))) {
                val throwing = object : HttpTransport {
                    override suspend fun send(request: HttpRequest): HttpResponse = throw thrown
                }
                val error = failureOf<GatepassException.Network> { world.gatepass { transport = throwing }.signIn() }
                assertEquals(Delivery.UNKNOWN_OUTCOME, error.delivery)
                assertFalse(SECRET in everythingIn(error))
            }
        }
    }

    @Test
    fun `RateLimited, with the time to wait`() = runBlocking<Unit> {
        World(virtualTime = true).use { world ->
            val gatepass = world.gatepass()
            val session = gatepass.signIn()
            world.server.rateLimitNext("token", 120uL)
            val error = failureOf<GatepassException.RateLimited> { session.refresh() }
            assertEquals(NextStep.RETRY_AFTER, error.nextStep)
            assertEquals(120, error.retryAfterSeconds)
            assertEquals(SessionState.SignedIn, gatepass.state.value)
            assertNotNull(session.peek())
        }
    }

    @Test
    fun `StorageLocked, StorageLost, StorageWriteFailed, and nobody is signed out`() = runBlocking<Unit> {
        World().use { world ->
            val locked = world.gatepass { storage = failing { StorageFailure(StorageFailure.Reason.LOCKED) } }
            assertEquals(NextStep.ASK_USER, failureOf<GatepassException.StorageLocked> { locked.session() }.nextStep)
            assertEquals(SessionState.StorageLocked, locked.state.value)
            val lost = world.gatepass { storage = failing { StorageFailure(StorageFailure.Reason.LOST) } }
            failureOf<GatepassException.StorageLost> { lost.session() }
            for (thrown in listOf(IllegalStateException(SECRET), NotImplementedError(SECRET))) {
                val broken = world.gatepass { storage = failing { thrown } }
                val read = failureOf<GatepassException.StorageLocked> { broken.session() }
                assertEquals("storage_unavailable", read.code)
                val written = failureOf<GatepassException.StorageWriteFailed> { broken.signIn() }
                assertFalse(SECRET in everythingIn(read) + everythingIn(written))
            }
        }
    }

    @Test
    fun `a full disk costs no session`() = runBlocking<Unit> {
        World().use { world ->
            var isFull = false
            val disk = object : MemoryStorage() {
                override fun reserve(key: String, bytes: Long) {
                    if (isFull) throw StorageFailure(StorageFailure.Reason.FAILED)
                }
            }
            val gatepass = world.gatepass { storage = SessionStorage.of(disk) }
            val session = gatepass.signIn()
            isFull = true
            failureOf<GatepassException.StorageWriteFailed> { session.refresh() }
            assertEquals(1, world.tokenRequests(), "nothing is sent for which there is no room")
            isFull = false
            session.refresh()
            assertEquals(200, world.callApi(session.accessToken()))
        }
    }

    @Test
    fun `SessionEnded, with the reason`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            val session = gatepass.signIn()
            world.server.revokeEverything()
            val error = failureOf<GatepassException.SessionEnded> { session.refresh() }
            assertEquals(EndReason.EXPIRED_OR_REVOKED, error.reason)
            assertEquals(NextStep.SIGN_IN_AGAIN, error.nextStep)
            assertEquals(SessionState.Ended(EndReason.EXPIRED_OR_REVOKED), gatepass.state.value)
            assertNull(session.peek())
        }
    }

    @Test
    fun `SessionEnded, on another device`() = runBlocking<Unit> {
        World().use { world ->
            class OnDevice(override val device: String) : SecureStorage by world.storage {
                override val place = "${world.storage.place} on $device"
            }
            world.gatepass { storage = SessionStorage.of(OnDevice("this one")) }.signIn()
            val restored = world.gatepass { storage = SessionStorage.of(OnDevice("another one")) }
            assertNull(restored.session())
            assertEquals(SessionState.Ended(EndReason.DEVICE_CHANGED), restored.state.value)
            assertEquals(1, world.tokenRequests())
        }
    }

    @Test
    fun `Internal, for storage that does not know where it is`() {
        World().use { world ->
            val lost = object : SecureStorage by world.storage {
                override val place: String get() = throw IllegalStateException(SECRET)
            }
            val error = failureOf<GatepassException.Internal> {
                world.gatepass { storage = SessionStorage.of(lost) }
            }
            assertFalse(SECRET in everythingIn(error))
        }
    }

    /** Three kinds that the core does not give yet, and one that it will never have. */
    @Test
    fun `every kind has a class of its own`() {
        val classes = GatepassException::class.java.declaredClasses
            .filter { GatepassException::class.java.isAssignableFrom(it) }
        assertEquals(21, classes.size)
        for (type in classes) {
            val kind = type.simpleName.replace(Regex("(?<=.)([A-Z])"), "_$1").lowercase()
            assertEquals(type, details(kind).toException().javaClass)
        }
        assertTrue(details("of_a_newer_core").toException() is GatepassException.Internal)
        for (reason in EndReason.values()) {
            val ended = details("session_ended", endReason = reason.name.lowercase()).toException()
            assertEquals(reason, (ended as GatepassException.SessionEnded).reason)
        }
    }

    @Test
    fun `after close everything says so`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            val session = gatepass.signIn()
            gatepass.close()
            assertThrows<IllegalStateException> { runBlocking { gatepass.session() } }
            assertThrows<IllegalStateException> { runBlocking { session.refresh() } }
            gatepass.close()
        }
    }

    private fun details(kind: String, endReason: String? = null) = FfiErrorDetails(
        message = "m", kind = kind, code = "c", stage = "s", clause = null, isRetryable = false, nextStep = "none",
        retryAfterSeconds = null, server = null, delivery = null, endReason = endReason, diagnosticId = null,
    )

    private fun failing(what: () -> Throwable) = SessionStorage.of(
        object : SecureStorage {
            override val place = "nowhere@${System.identityHashCode(what)}"

            override fun load(key: String): StoredRecord? = throw what()

            override fun commit(key: String, expected: Long, bytes: ByteArray): CommitOutcome = throw what()

            override fun remove(key: String, expected: Long): CommitOutcome = throw what()

            override fun list(prefix: String): List<String> = throw what()
        },
    )

    private fun everythingIn(e: GatepassException) =
        "$e ${e.message} ${e.code} ${e.stage} ${e.clause} ${e.server} ${e.diagnosticId} ${e.cause} " +
            e.stackTraceToString()
}
