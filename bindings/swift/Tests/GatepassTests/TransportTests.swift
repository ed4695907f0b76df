// HTTP by URLSession, held against the contract of the port.

import Foundation
import GatepassCore
import Testing

@testable import Gatepass

/// What `Foundation` on Linux cannot do, and nobody can do for it. It is why a client on Linux has the HTTP of the native
/// library unless it says otherwise. On Apple's systems nothing is left out but the first.
private let leftOut: [String] = {
    // URLRequest holds each header once, joined by a comma, which RFC 9110 §5.3 has mean the same.
    var names = ["an answer comes as it is, duplicate headers and all"]
    #if canImport(FoundationNetworking)
        names += [
            // FoundationNetworking ends the process: "Transfer completed, but there's no response."
            "an answer that is none, or not whole: outcome unknown",
            // It reads on after a task is cancelled, and keeps what it reads.
            "the body is cut while it streams",
            // It takes no root certificate of an app's, and has no delegate to ask.
            "TLS 1.2 and 1.3 with HTTP/1.1", "the server's name is sent in the handshake",
            "a certificate that is not to be trusted: not sent", "TLS 1.1 is refused: not sent",
            "a handshake that fails or breaks off: not sent", "a handshake that does not end: not sent, within the deadline",
            "HTTP/2: an answer comes as it is", "HTTP/2: informational answers are passed over",
            "HTTP/2: a refused request is sent once", "HTTP/2: a request that GOAWAY leaves out is sent once",
            "HTTP/2: a stream or connection that breaks: outcome unknown, sent once",
            "HTTP/2: the body is cut, and the deadline holds",
        ]
    #endif
    return names
}()

extension All {
    @Suite struct Transport {
        @Test(.timeLimit(.minutes(3))) func theTransportKeepsTheContractOfThePort() async throws {
            let suite = FfiHttpSuite.leavingOut(promises: leftOut, why: "the platform cannot")
            let report = try await suite.run(transport: ForeignTransport(URLSessionTransport()))
            print("kept: \(report.kept.count), skipped: \(report.skipped.count)")
            #expect(report.broken == [])
            #expect(report.skipped.count == leftOut.count)
        }

        @Test func onlyACodeThatSaysSoMeansNotSent() {
            let failure = { (code: Int, sent: Bool) in
                TransportFailure(NSError(domain: NSURLErrorDomain, code: code), wasAnythingSent: sent)
            }
            for code in [NSURLErrorCannotFindHost, NSURLErrorCannotConnectToHost, NSURLErrorServerCertificateUntrusted] {
                #expect(failure(code, false).delivery == .notSent)
                #expect(failure(code, true).delivery == .unknownOutcome)
            }
            for code in [NSURLErrorTimedOut, NSURLErrorNetworkConnectionLost, NSURLErrorUnknown, NSURLErrorCancelled, -99_999] {
                #expect(failure(code, false).delivery == .unknownOutcome)
            }
        }

        @Test func aRequestThatIsNoneIsNotSent() async throws {
            for url in ["", "https://", "no url"] {
                let request = FfiHttpRequest(
                    method: "GET", url: url, headers: [], body: Data(), timeoutMillis: 1000, maxResponseBytes: 10,
                    maxConnectionIdleMillis: nil
                )
                await #expect(throws: TransportFailure(.notSent, .invalidRequest)) {
                    _ = try await URLSessionTransport().send(TransportRequest(request))
                }
            }
        }
    }
}
