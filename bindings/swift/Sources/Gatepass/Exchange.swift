// One request by a URLSession of its own.

import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// One request, its answer gathered piece by piece, so that a body that is too long is cut while it streams.
final class Exchange: NSObject, URLSessionDataDelegate, Sendable {
    /// Why there is no answer.
    enum Failure: Error {
        /// By the session. `wasAnythingSent` is about the body.
        case failed(any Error, wasAnythingSent: Bool)
        /// The body is longer than allowed.
        case tooLong
        /// The time is over.
        case late
        /// What came is not HTTP.
        case notHTTP
    }

    private struct State {
        var response: HTTPURLResponse?
        var body = Data()
        var continuation: CheckedContinuation<(HTTPURLResponse, Data), any Error>?
    }

    private let limit: UInt64
    private let redirected: @Sendable (URLRequest) -> URLRequest?
    private let state = Locked(State())

    /// - Parameters:
    ///   - limit: The longest body.
    ///   - redirected: What to send at a redirect, of what the session would; `nil` makes the redirect the answer.
    init(limit: UInt64 = .max, redirected: @escaping @Sendable (URLRequest) -> URLRequest?) {
        self.limit = limit
        self.redirected = redirected
    }

    /// Sends the request by a session that `session` makes with this as its delegate.
    func run(
        _ request: URLRequest, timeout: TimeInterval? = nil, by session: (any URLSessionDelegate) -> URLSession
    ) async throws -> (HTTPURLResponse, Data) {
        let session = session(self)
        let task = session.dataTask(with: request)
        // Else the session keeps its delegate for ever.
        defer { session.finishTasksAndInvalidate() }
        // The system's own limits begin later than the call, and not every system keeps the one for the whole exchange.
        let deadline = Task { [weak self] in
            guard let timeout else { return }
            try await Task.sleep(nanoseconds: UInt64(max(timeout, 0) * 1e9))
            self?.settle(.failure(Failure.late))
            task.cancel()
        }
        defer { deadline.cancel() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                state.withLock { $0.continuation = continuation }
                task.resume()
            }
        } onCancel: {
            // The one who cancels is the core's own thread, which nothing may hold up; Foundation on Linux waits in there.
            DispatchQueue.global().async { task.cancel() }
        }
    }

    private func settle(_ outcome: Result<(HTTPURLResponse, Data), any Error>) {
        let waiting = state.withLock { state in
            defer { state.continuation = nil }
            return state.continuation
        }
        waiting?.resume(with: outcome)
    }

    func urlSession(
        _: URLSession, task _: URLSessionTask, willPerformHTTPRedirection _: HTTPURLResponse, newRequest: URLRequest,
        completionHandler: @escaping Completion<URLRequest?>
    ) {
        completionHandler(redirected(newRequest))
    }

    func urlSession(
        _: URLSession, dataTask _: URLSessionDataTask, didReceive response: URLResponse,
        completionHandler: @escaping Completion<URLSession.ResponseDisposition>
    ) {
        state.withLock { state in
            state.response = response as? HTTPURLResponse
            // What came before it belongs to a redirect.
            state.body = Data()
        }
        completionHandler(.allow)
    }

    func urlSession(_: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        let isTooLong = state.withLock { state in
            state.body.append(data)
            return UInt64(state.body.count) > limit
        }
        if isTooLong {
            settle(.failure(Failure.tooLong))
            dataTask.cancel()
        }
    }

    func urlSession(_: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        if let error {
            settle(.failure(Failure.failed(error, wasAnythingSent: task.countOfBytesSent > 0)))
            return
        }
        let (response, body) = state.withLock { ($0.response, $0.body) }
        if let response = response ?? task.response as? HTTPURLResponse {
            settle(.success((response, body)))
        } else {
            settle(.failure(Failure.notHTTP))
        }
    }
}

// What a delegate is given to answer with. Foundation on Linux declares it another way than Apple's, and a method whose type is
// not quite the protocol's is never called.
#if canImport(Darwin)
    typealias Completion<Value> = @Sendable (Value) -> Void
#else
    typealias Completion<Value> = (Value) -> Void
#endif
