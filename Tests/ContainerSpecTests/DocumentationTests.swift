import ContainerSpec
import Foundation
import Testing

/// What the pages show as a configuration is one.
@Suite struct DocumentationTests {
    @Test func theExamplesAreWhole() throws {
        let pages = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs").standardized
        let text = try String(contentsOf: pages.appendingPathComponent("configuration.md"), encoding: .utf8)
        let examples = text.components(separatedBy: "```json\n").dropFirst().compactMap { $0.components(separatedBy: "```").first }
        let whole = examples.filter { $0.contains("ociVersion") }
        #expect(whole.count == 2)
        for example in whole {
            var warnings: [SpecIssue] = []
            #expect(throws: Never.self) { try ContainerSpec.decode(Array(example.utf8), warnings: &warnings) }
            #expect(warnings.isEmpty)
        }
    }
}
