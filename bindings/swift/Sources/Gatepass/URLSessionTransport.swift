// HTTP by URLSession: at most once, and honest about what may have been sent.

import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// HTTP by `URLSession`, so with the system's proxy, VPN, trust and pinning (`NSPinnedDomains`). What Apple's systems use
/// unless ``GatepassConfig/transport`` says otherwise.
///
/// Each request has a session of its own. So nothing is pooled, and no connection is used again that the server may have
/// closed meanwhile, which is when a layer below would send a request a second time; and the delegate belongs to one exchange
/// alone. A token endpoint is asked too seldom for the handshake to matter.
public struct URLSessionTransport: HTTPTransport {
    private let prepare: @Sendable (URLSessionConfiguration) -> Void

    /// A transport over ephemeral sessions.
    ///
    /// - Parameter prepare: Changes the configuration of each, for a proxy of one's own, say. Cookies, cache and credentials
    ///   are off afterwards, whatever it does, and the time limits are those of the request.
    public init(prepare: @escaping @Sendable (URLSessionConfiguration) -> Void = { _ in }) {
        self.prepare = prepare
    }

    /// Sends one request and reads the whole answer.
    public func send(_ request: TransportRequest) async throws -> TransportResponse {
        guard let url = URL(string: request.url), url.host != nil else {
            throw TransportFailure(.notSent, .invalidRequest)
        }
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
        let configuration = URLSessionConfiguration.ephemeral
        prepare(configuration)
        configuration.httpCookieStorage = nil
        configuration.httpCookieAcceptPolicy = .never
        configuration.httpShouldSetCookies = false
        configuration.urlCache = nil
        configuration.urlCredentialStorage = nil
        #if canImport(Darwin)
            configuration.waitsForConnectivity = false
        #endif
        // The first counts the silence between two pieces, the second the whole exchange.
        configuration.timeoutIntervalForRequest = request.timeout
        configuration.timeoutIntervalForResource = request.timeout
        let session = { URLSession(configuration: configuration, delegate: $0, delegateQueue: nil) }
        let exchange = Exchange(limit: request.maxResponseBytes) { _ in nil }
        do {
            let (response, body) = try await exchange.run(prepared, timeout: request.timeout, by: session)
            let headers = response.allHeaderFields.compactMap { name, value in
                (name as? String).map { (name: $0, value: "\(value)") }
            }
            return TransportResponse(status: response.statusCode, headers: headers, body: body)
        } catch Exchange.Failure.failed(let error, let wasAnythingSent) {
            throw TransportFailure(error, wasAnythingSent: wasAnythingSent)
        } catch Exchange.Failure.tooLong {
            throw TransportFailure(.unknownOutcome, .bodyTooLarge)
        } catch Exchange.Failure.late {
            throw TransportFailure(.unknownOutcome, .timeout)
        } catch Exchange.Failure.notHTTP {
            throw TransportFailure(.unknownOutcome, .invalidAnswer)
        }
    }
}

extension TransportFailure {
    /// By the error's code. Only what ends an exchange before the request is written is certainly not sent; a code that does
    /// not say when it came is not certain.
    init(_ error: any Error, wasAnythingSent: Bool) {
        let code = (error as? URLError)?.code ?? URLError.Code(rawValue: (error as NSError).code)
        let (delivery, reason): (GatepassError.Delivery, Reason) =
            switch code {
            case .cannotFindHost, .dnsLookupFailed: (.notSent, .nameNotResolved)
            case .cannotConnectToHost, .notConnectedToInternet, .dataNotAllowed, .internationalRoamingOff, .callIsActive:
                (.notSent, .connect)
            case .serverCertificateUntrusted, .serverCertificateHasBadDate, .serverCertificateHasUnknownRoot,
                .serverCertificateNotYetValid:
                (.notSent, .tlsCertificate)
            case .clientCertificateRejected, .clientCertificateRequired: (.unknownOutcome, .tls)
            case .secureConnectionFailed, .appTransportSecurityRequiresSecureConnection: (.notSent, .tls)
            case .badURL, .unsupportedURL: (.notSent, .invalidRequest)
            case .timedOut: (.unknownOutcome, .timeout)
            case .networkConnectionLost: (.unknownOutcome, .connectionLost)
            case .badServerResponse, .cannotParseResponse, .cannotDecodeRawData, .cannotDecodeContentData:
                (.unknownOutcome, .invalidAnswer)
            case .dataLengthExceedsMaximum: (.unknownOutcome, .bodyTooLarge)
            default: (.unknownOutcome, .other)
            }
        // Whatever the code says: bytes that left have left.
        self.init(wasAnythingSent ? .unknownOutcome : delivery, reason)
    }
}
