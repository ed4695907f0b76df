// HTTP by the JDK, to the contract of the core: at most once, and honest about what may have been sent.

package io.gatepass

import io.gatepass.core.FfiDelivery
import io.gatepass.core.FfiHeader
import io.gatepass.core.FfiHttpFailure
import io.gatepass.core.FfiHttpFailureReason
import io.gatepass.core.FfiHttpRequest
import io.gatepass.core.FfiHttpResponse
import io.gatepass.core.FfiHttpTransport
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.net.ConnectException
import java.net.URI
import java.net.UnknownHostException
import java.net.http.HttpClient
import java.net.http.HttpConnectTimeoutException
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.net.http.HttpTimeoutException
import java.nio.ByteBuffer
import java.nio.channels.UnresolvedAddressException
import java.time.Duration
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionStage
import java.util.concurrent.Flow
import javax.net.ssl.SSLHandshakeException
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.future.await
import kotlinx.coroutines.withTimeout

/**
 * Sends at most once only with the two system properties that pom.xml sets, which count for the whole process. A library
 * cannot set them for its app: the façade for the JVM needs another client.
 */
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
        } catch (e: BodyTooLong) {
            throw unknown(FfiHttpFailureReason.BODY_TOO_LARGE)
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
        val response = client.sendAsync(request) { CappedBody(limit) }.await()
        val headers = response.headers().map().flatMap { (name, values) -> values.map { FfiHeader(name, it) } }
        return FfiHttpResponse(response.statusCode().toUShort(), headers, response.body())
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

private class BodyTooLong : IOException()

/** Gathers the body and gives up at the limit. Not the JDK's InputStream: a read from that heeds no interrupt. */
private class CappedBody(private val limit: Long) : HttpResponse.BodySubscriber<ByteArray> {
    private val whole = CompletableFuture<ByteArray>()
    private val bytes = ByteArrayOutputStream()
    private lateinit var subscription: Flow.Subscription

    override fun getBody(): CompletionStage<ByteArray> = whole

    override fun onSubscribe(subscription: Flow.Subscription) {
        this.subscription = subscription
        subscription.request(Long.MAX_VALUE)
    }

    override fun onNext(pieces: List<ByteBuffer>) {
        for (piece in pieces) {
            if (bytes.size() + piece.remaining() > limit) {
                subscription.cancel()
                whole.completeExceptionally(BodyTooLong())
                return
            }
            val copy = ByteArray(piece.remaining())
            piece.get(copy)
            bytes.write(copy, 0, copy.size)
        }
    }

    override fun onError(cause: Throwable) {
        whole.completeExceptionally(cause)
    }

    override fun onComplete() {
        whole.complete(bytes.toByteArray())
    }
}
