import Foundation
import SessionLog
import TestSupport

extension SeededGenerator {
    /// `count` bytes; `newlineEvery`, if not 0, is the mean distance of extra newlines.
    mutating func bytes(_ count: Int, newlineEvery: Int = 0) -> [UInt8] {
        (0..<count).map { _ in
            let value = next()
            return newlineEvery > 0 && (value >> 8) % UInt64(newlineEvery) == 0 ? 10 : UInt8(truncatingIfNeeded: value)
        }
    }
}

extension Array where Element == UInt8 {
    init(utf8 text: some StringProtocol) { self.init(text.utf8) }

    /// Cuts the bytes into pieces of random length 1...`maximum`.
    func pieces(_ generator: inout SeededGenerator, maximum: Int) -> [[UInt8]] {
        var result: [[UInt8]] = []
        var at = 0
        while at < count {
            let end = Swift.min(count, at + Int.random(in: 1...maximum, using: &generator))
            result.append([UInt8](self[at..<end]))
            at = end
        }
        return result
    }
}

/// 2026-01-02T03:04:05.678901234Z
let sampleTime: Int64 = 1_767_323_045_678_901_234

/// Everything that a decoder makes of `log`, fed in `pieces`.
func decodeAll(_ pieces: [[UInt8]]) -> [CRIDecoder.Item] {
    var decoder = CRIDecoder()
    var items: [CRIDecoder.Item] = []
    for piece in pieces { decoder.decode(piece) { items.append($0) } }
    decoder.finish { items.append($0) }
    return items
}

func decodeAll(_ log: [UInt8]) -> [CRIDecoder.Item] { decodeAll([log]) }

extension [CRIDecoder.Item] {
    var records: [CRIRecord] {
        compactMap { if case .record(let record) = $0 { record } else { nil } }
    }

    /// The stream as the container process wrote it.
    func content(_ stream: LogStream) -> [UInt8] {
        records.filter { $0.stream == stream }.flatMap { $0.endsLine ? $0.bytes + [10] : $0.bytes }
    }

    var skipped: [(offset: UInt64, count: UInt64)] {
        compactMap { if case .skipped(let offset, let count) = $0 { (offset, count) } else { nil } }
    }
}

/// Encodes the chunks and flushes both streams.
func encode(_ chunks: [(stream: LogStream, bytes: [UInt8])]) -> [UInt8] {
    var encoder = CRIEncoder()
    var log: [UInt8] = []
    for (index, chunk) in chunks.enumerated() {
        encoder.encode(chunk.stream, chunk.bytes, at: sampleTime + Int64(index), into: &log)
    }
    encoder.flushPartial(.stdout, into: &log)
    encoder.flushPartial(.stderr, into: &log)
    return log
}

/// Runs a program of the system and returns its standard output.
func output(_ program: String, _ arguments: [String], input: [UInt8] = []) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    let (stdin, stdout) = (Foundation.Pipe(), Foundation.Pipe())
    process.standardInput = stdin
    process.standardOutput = stdout
    try process.run()
    try stdin.fileHandleForWriting.write(contentsOf: Data(input))
    try stdin.fileHandleForWriting.close()
    let text = try stdout.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return String(decoding: text, as: UTF8.self)
}
