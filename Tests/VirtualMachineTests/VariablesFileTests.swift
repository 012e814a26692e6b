import Foundation
import Testing

@testable import VirtualMachine

@Suite("Files with guestinfo variables") struct VariablesFileTests {
    @Test("what is changed, added and taken away is told once; a file that is gone has nothing, one that cannot be read changes nothing")
    func follow() throws {
        let path = NSTemporaryDirectory() + "tether-variables-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let file = VariablesFile(path: path) {
            guard let text = try? String(contentsOfFile: path, encoding: .utf8), text != "bad" else { return nil }
            let pairs = text.split(separator: "\n").map { $0.split(separator: "=") }
            return Dictionary(pairs.map { (String($0[0]), Array($0[1].utf8)) }) { $1 }
        }
        let change = file.follow()
        func changes() -> [String: String] {
            Dictionary(change().map { ($0.key, $0.value.map { String(decoding: $0, as: UTF8.self) } ?? "gone") }) { $1 }
        }
        func write(_ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic) }
        #expect(changes() == [:])
        try write("a=1\nb=2")
        #expect(changes() == ["a": "1", "b": "2"] && changes() == [:])
        try write("a=1\nb=3\nc=4")
        #expect(changes() == ["b": "3", "c": "4"])
        try write("bad")
        #expect(changes() == [:])
        try write("c=4")
        #expect(changes() == ["a": "gone", "b": "gone"])
        try write("c=5")
        #expect(changes() == ["c": "5"])
        try FileManager.default.removeItem(atPath: path)
        #expect(changes() == ["c": "gone"] && changes() == [:])
        try write("c=4")
        #expect(changes() == ["c": "4"])
    }
}
