// HTTP by the JDK, to the contract of the core: at most once, and honest about what may have been sent.

package io.gatepass

import io.gatepass.core.FfiDelivery
import io.gatepass.core.FfiHeader
import io.gatepass.core.FfiHttpFailure
import io.gatepass.core.FfiHttpFailureReason
import io.gatepass.core.FfiHttpRequest
import io.gatepass.core.FfiHttpResponse
import io.gatepass.core.FfiHttpTransport
import java.io.IOException
import java.io.InputStream
import java.net.ConnectException
import java.net.URI
import java.net.UnknownHostException
import java.net.http.HttpClient
import java.net.http.HttpConnectTimeoutException
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.net.http.HttpTimeoutException
import java.nio.channels.UnresolvedAddressException
import java.time.Duration
import javax.net.ssl.SSLHandshakeException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.future.await
import kotlinx.coroutines.runInterruptible
import kotlinx.coroutines.withTimeout

class JdkHttpTransport : FfiHttpTransport {
    private val pooled = client()

    override suspend fun send(request: FfiHttpRequest): FfiHttpResponse {
        val prepared = prepare(request)
        // The JDK cannot say how long a pooled connection has been idle: where that matters, no pool.
        val client = if (request.maxConnectionIdleMillis == null) pooled else client()
        return try {
            // The JDK's own timeout ends with the headers; the contract's with the last byte.
            withTimeout(request.timeoutMillis.toLong()) { exchange(client, prepared, request.maxResponseBytes.toLong()) }
        } catch (e: TimeoutCancellationException) {
            throw unknown(FfiHttpFailureReason.TIMEOUT)
        } catch (e: FfiHttpFailure) {
            throw e
        } catch (e: HttpConnectTimeoutException) {
            throw notSent(FfiHttpFailureReason.TIMEOUT)
        } catch (e: HttpTimeoutException) {
            throw unknown(FfiHttpFailureReason.TIMEOUT)
        } catch (e: ConnectException) {
            throw notSent(FfiHttpFailureReason.CONNECT)
        } catch (e: UnknownHostException) {
            throw notSent(FfiHttpFailureReason.CONNECT)
        } catch (e: UnresolvedAddressException) {
            throw notSent(FfiHttpFailureReason.CONNECT)
        } catch (e: SSLHandshakeException) {
            throw notSent(FfiHttpFailureReason.TLS)
        } catch (e: IOException) {
            throw unknown(FfiHttpFailureReason.CONNECTION_LOST)
        }
    }

    private fun prepare(request: FfiHttpRequest): HttpRequest = try {
        val builder = HttpRequest.newBuilder(URI(request.url))
        val body = if (request.body.isEmpty()) {
            HttpRequest.BodyPublishers.noBody()
        } else {
            HttpRequest.BodyPublishers.ofByteArray(request.body)
        }
        builder.method(request.method, body)
        request.headers.forEach { builder.header(it.name, it.value) }
        builder.build()
    } catch (e: Exception) {
        throw notSent(FfiHttpFailureReason.INVALID_REQUEST)
    }

    private suspend fun exchange(client: HttpClient, request: HttpRequest, limit: Long): FfiHttpResponse {
        val response = client.sendAsync(request, HttpResponse.BodyHandlers.ofInputStream()).await()
        val body = runInterruptible(Dispatchers.IO) { response.body().use { readAtMost(it, limit) } }
        val headers = response.headers().map().flatMap { (name, values) -> values.map { FfiHeader(name, it) } }
        return FfiHttpResponse(response.statusCode().toUShort(), headers, body)
    }

    private fun readAtMost(stream: InputStream, limit: Long): ByteArray {
        // One byte more than allowed tells a body that is too long from one that just fits.
        val body = stream.readNBytes((limit + 1).coerceAtMost(Int.MAX_VALUE.toLong()).toInt())
        if (body.size > limit) throw unknown(FfiHttpFailureReason.BODY_TOO_LARGE)
        return body
    }

    private companion object {
        fun client(): HttpClient = HttpClient.newBuilder()
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(Duration.ofSeconds(10))
            // Over plain http the JDK would ask for HTTP/2 with every request.
            .version(HttpClient.Version.HTTP_1_1)
            .build()

        fun notSent(reason: FfiHttpFailureReason) = FfiHttpFailure.Failed(FfiDelivery.NOT_SENT, reason)

        fun unknown(reason: FfiHttpFailureReason) = FfiHttpFailure.Failed(FfiDelivery.UNKNOWN_OUTCOME, reason)
    }
}
