// Every public name says what it is.

import Foundation
import Testing

@Test func everyPublicNameSaysWhatItIs() throws {
    let sources = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Sources/Gatepass")
    let files = try FileManager.default.contentsOfDirectory(at: sources, includingPropertiesForKeys: nil)
        .filter { $0.pathExtension == "swift" }
    #expect(files.count > 15)
    var silent: [String] = []
    for file in files {
        var above = ""
        var inPublicEnum = false
        for (number, line) in try String(contentsOf: file, encoding: .utf8).components(separatedBy: "\n").enumerated() {
            let text = line.trimmingCharacters(in: .whitespaces)
            if text.hasPrefix("public enum") || text.hasPrefix("public indirect enum") { inPublicEnum = true }
            // The cases stand first; what follows them is not one.
            if inPublicEnum, text.hasPrefix("var ") || text.hasPrefix("init") || text.hasPrefix("}") { inPublicEnum = false }
            let isPublic = text.hasPrefix("public ") || (inPublicEnum && text.hasPrefix("case "))
            if isPublic, !above.hasPrefix("///") { silent.append("\(file.lastPathComponent):\(number + 1): \(text)") }
            // An attribute stands between the two.
            if !text.isEmpty, !text.hasPrefix("@") { above = text }
        }
    }
    #expect(silent == [])
}
