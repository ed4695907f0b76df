// An HTTP server for what the test server does not do: one answer a connection.

import Foundation
import Testing

@testable import Gatepass

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

final class PlainServer: Sendable {
    let port: UInt16
    private let listener: Int32
    private let seen = Locked<[String]>([])

    /// The requests as they came, headers and all.
    var requests: [String] { seen.withLock { $0 } }

    init(_ answer: @escaping @Sendable (String) -> String) throws {
        #if canImport(Glibc)
            listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        #else
            listener = socket(AF_INET, SOCK_STREAM, 0)
        #endif
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, address, &length) == 0
            }
        }
        try #require(bound)
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [seen] in
            while true {
                let connection = accept(listener, nil, nil)
                if connection < 0 { return }
                // The tests send little: a request is here whole, or its headers are, and the rest is read away.
                var buffer = [UInt8](repeating: 0, count: 65_536)
                let count = read(connection, &buffer, buffer.count)
                let request = String(decoding: buffer[..<max(count, 0)], as: UTF8.self)
                seen.withLock { $0.append(request) }
                let text = Array(answer(request).replacingOccurrences(of: "\r\n\r\n", with: "\r\nConnection: close\r\n\r\n").utf8)
                _ = write(connection, text, text.count)
                shutdown(connection, Int32(SHUT_WR))
                while read(connection, &buffer, buffer.count) > 0 {}
                close(connection)
            }
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }
}
