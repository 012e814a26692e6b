import CLinux
import Foundation
import Testing

@testable import Tether

/// What the network's worker says of an image's /etc/resolv.conf.
@Suite("The image's resolv.conf") struct ImageResolverTests {
    /// A root with an /etc, in which `prepare` puts something at the path that it is given.
    private func look(_ prepare: (String) throws -> Void) throws -> ImageResolver {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("tether-image-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: root + "/etc", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: root) }
        try prepare(root + "/etc/resolv.conf")
        let looked = ImageResolver(in: root)
        // As it crosses the worker's pipe.
        let received = try #require(ImageResolver(looked.encoded))
        #expect(received.text == looked.text && received.hasPlace == looked.hasPlace)
        for length in 0..<looked.encoded.count { #expect(ImageResolver(Array(looked.encoded.prefix(length))) == nil) }
        return looked
    }

    @Test("a file's text, if it has one that is short enough")
    func files() throws {
        func text(_ content: String) throws -> String? {
            let looked = try look { try content.write(toFile: $0, atomically: false, encoding: .utf8) }
            #expect(looked.hasPlace)
            return looked.text
        }
        #expect(try text("nameserver 10.0.0.1\n") == "nameserver 10.0.0.1\n")
        #expect(try text("") == nil)
        let longest = String(repeating: "#", count: 16_384)
        #expect(try text(longest) == longest && text(longest + "#") == nil)
    }

    @Test("what is no file has a place and no text, and holds up nobody")
    func others() throws {
        let link = try look { try FileManager.default.createSymbolicLink(atPath: $0, withDestinationPath: "../run/stub.conf") }
        #expect(link.text == nil && link.hasPlace)
        let pipe = try look { try #require(mkfifo($0, 0o600) == 0) }
        #expect(pipe.text == nil && pipe.hasPlace)
        let directory = try look { try FileManager.default.createDirectory(atPath: $0, withIntermediateDirectories: false) }
        #expect(directory.text == nil && directory.hasPlace)
        let nothing = try look { _ in }
        #expect(nothing.text == nil && nothing.hasPlace, "it can be made")
        let without = try look { try FileManager.default.removeItem(atPath: ($0 as NSString).deletingLastPathComponent) }
        #expect(without.text == nil && !without.hasPlace)
    }
}
