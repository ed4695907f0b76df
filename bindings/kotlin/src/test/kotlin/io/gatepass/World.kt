// One process is the whole world: the test server, its browser and the app.

package io.gatepass

import io.gatepass.core.FfiClient
import io.gatepass.core.FfiConfig
import io.gatepass.core.FfiErrorDetails
import io.gatepass.core.FfiException
import io.gatepass.core.FfiHttpTransport
import io.gatepass.core.FfiSecureStorage
import io.gatepass.core.FfiSession
import io.gatepass.core.FfiSignInOptions
import io.gatepass.core.FfiTestServer
import io.gatepass.core.FfiTransportPolicy
import org.junit.jupiter.api.fail

class World : AutoCloseable {
    val server = FfiTestServer.start()
    val storage = MemoryStorage()

    /** A client as one start of the app makes it. All of them share the storage. */
    fun client(
        http: FfiHttpTransport = JdkHttpTransport(),
        storage: FfiSecureStorage = this.storage,
        issuer: String = server.issuer(),
    ) = FfiClient(
        FfiConfig(
            issuer = issuer,
            clientId = server.clientId(),
            redirect = "https://app.example.com/callback",
            scopes = listOf("openid", "profile", "offline_access"),
            apis = listOf(server.issuer()),
            transportPolicy = FfiTransportPolicy.ALLOW_HTTP_ON_LOOPBACK,
            signInTimeoutMillis = null,
        ),
        http,
        storage,
    )

    suspend fun signIn(client: FfiClient): FfiSession {
        val pending = client.beginSignIn(FfiSignInOptions())
        return client.resumeSignIn(server.browserSignIn(pending.authorizationUrl))
    }

    fun tokenRequests() = server.requestCount("/token")

    override fun close() = server.close()
}

/** What the call throws, which must be the one error type and say something. */
suspend fun failureOf(call: suspend () -> Any?): FfiErrorDetails {
    try {
        call()
    } catch (e: FfiException.Failed) {
        if (e.details.message.isBlank()) fail("an error without a message")
        return e.details
    }
    fail("no error")
}
