// HTTP by URLSession, to the contract of the core: at most once, and honest about what may have been sent.

import Foundation
#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif
import GatepassCore

/// One URLSession for each request: nothing is pooled, so no connection ever idles, and the delegate belongs to one
/// exchange alone.
///
/// What it cannot do: `allHeaderFields` is a dictionary, so headers that came twice arrive as one, joined or the last.
final class URLSessionTransport: FfiHttpTransport {
    func send(request: FfiHttpRequest) async throws -> FfiHttpResponse {
        guard let url = URL(string: request.url) else { throw notSent(.invalidRequest) }
        var prepared = URLRequest(url: url)
        prepared.httpMethod = request.method
        prepared.httpShouldHandleCookies = false
        prepared.cachePolicy = .reloadIgnoringLocalCacheData
        for header in request.headers {
            prepared.addValue(header.value, forHTTPHeaderField: header.name)
        }
        if !request.body.isEmpty {
            prepared.httpBody = request.body
        }
        let exchange = Exchange(limit: request.maxResponseBytes)
        return try await exchange.run(prepared, seconds: Double(request.timeoutMillis) / 1000)
    }
}

/// One request, its answer gathered piece by piece, so that a body that is too long is cut while it streams.
private final class Exchange: NSObject, URLSessionDataDelegate, @unchecked Sendable {
    private let limit: UInt64
    // The session calls its delegate on one serial queue, and `run` sets the rest before it starts: hence @unchecked.
    private var response: HTTPURLResponse?
    private var body = Data()
    private var failure: FfiHttpFailure?
    private var continuation: CheckedContinuation<FfiHttpResponse, any Error>?

    init(limit: UInt64) {
        self.limit = limit
    }

    func run(_ request: URLRequest, seconds: Double) async throws -> FfiHttpResponse {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.httpCookieStorage = nil
        configuration.urlCache = nil
        configuration.urlCredentialStorage = nil
        // The first counts the silence between two pieces, the second the whole exchange.
        configuration.timeoutIntervalForRequest = seconds
        configuration.timeoutIntervalForResource = seconds
        let session = URLSession(configuration: configuration, delegate: self, delegateQueue: nil)
        let task = session.dataTask(with: request)
        defer { session.finishTasksAndInvalidate() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                self.continuation = continuation
                task.resume()
            }
        } onCancel: {
            task.cancel()
        }
    }

    func urlSession(
        _: URLSession, task _: URLSessionTask, willPerformHTTPRedirection _: HTTPURLResponse, newRequest _: URLRequest,
        completionHandler: @escaping (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }

    func urlSession(
        _: URLSession, dataTask _: URLSessionDataTask, didReceive response: URLResponse,
        completionHandler: @escaping (URLSession.ResponseDisposition) -> Void
    ) {
        self.response = response as? HTTPURLResponse
        completionHandler(.allow)
    }

    func urlSession(_: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        body.append(data)
        if UInt64(body.count) > limit {
            failure = unknown(.bodyTooLarge)
            dataTask.cancel()
        }
    }

    func urlSession(_: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        let continuation = continuation
        self.continuation = nil
        if let failure = failure ?? error.map(failure(of:)) {
            continuation?.resume(throwing: failure)
            return
        }
        guard let response = response ?? task.response as? HTTPURLResponse else {
            continuation?.resume(throwing: unknown(.other))
            return
        }
        let headers = response.allHeaderFields.compactMap { name, value in
            (name as? String).map { FfiHeader(name: $0, value: "\(value)") }
        }
        let answer = FfiHttpResponse(status: UInt16(response.statusCode), headers: headers, body: body)
        continuation?.resume(returning: answer)
    }

    private func failure(of error: any Error) -> FfiHttpFailure {
        switch (error as? URLError)?.code {
        case .cannotFindHost, .dnsLookupFailed, .cannotConnectToHost, .notConnectedToInternet:
            notSent(.connect)
        case .secureConnectionFailed, .serverCertificateUntrusted, .serverCertificateHasBadDate,
            .serverCertificateHasUnknownRoot, .serverCertificateNotYetValid:
            notSent(.tls)
        case .badURL, .unsupportedURL:
            notSent(.invalidRequest)
        case .timedOut:
            unknown(.timeout)
        case .networkConnectionLost:
            unknown(.connectionLost)
        default:
            unknown(.other)
        }
    }
}

private func notSent(_ reason: FfiHttpFailureReason) -> FfiHttpFailure {
    .Failed(delivery: .notSent, reason: reason)
}

private func unknown(_ reason: FfiHttpFailureReason) -> FfiHttpFailure {
    .Failed(delivery: .unknownOutcome, reason: reason)
}
