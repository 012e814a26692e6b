import CLinux
import Foundation
import LineEndpoint
import Linux
import Testing

@testable import AttachClient

/// Runs a client of the guest with pipes for its streams.
struct ClientRun {
    var stdout: [UInt8] = []
    var stderr: [UInt8] = []
    var log: [String] = []
    var outcome: AttachOutcome?
    var error: AttachError?

    init(
        _ target: AttachTarget, _ purpose: AttachOptions.Purpose, input: [UInt8]? = nil, _ change: (inout AttachOptions) -> Void = { _ in }
    ) throws {
        let streams = [try Pipe().take(), try Pipe().take(), try Pipe().take()]
        var options = AttachOptions(purpose)
        options.wantsInput = input != nil
        (options.stdin, options.stdout, options.stderr) = (streams[0].read, streams[1].write, streams[2].write)
        let lines = Lines()
        options.log = { lines.append($0) }
        change(&options)
        let writer = streams[0].write
        let bytes = input ?? []
        let collectors = [Collector(streams[1].read), Collector(streams[2].read)]
        let feeder = Thread {
            let output = FileHandle(fileDescriptor: writer, closeOnDealloc: true)
            try? output.write(contentsOf: Data(bytes))
            try? output.close()
        }
        feeder.start()
        let session = AttachSession(target, options)
        do throws(AttachError) { outcome = try session.run() } catch { self.error = error }
        for stream in [streams[0].read, streams[1].write, streams[2].write] { close(stream) }
        stdout = collectors[0].bytes()
        stderr = collectors[1].bytes()
        log = lines.all
    }
}

final class Lines: @unchecked Sendable {
    private let lock = NSLock()
    private var lines: [String] = []
    func append(_ line: String) { lock.withLock { lines.append(line) } }
    var all: [String] { lock.withLock { lines } }
}

/// Reads a descriptor to its end in a thread.
final class Collector: @unchecked Sendable {
    private var data = Data()
    private let done = DispatchSemaphore(value: 0)

    init(_ descriptor: Int32) {
        let thread = Thread { [self] in
            let input = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
            data = (try? input.readToEnd()) ?? Data()
            done.signal()
        }
        thread.start()
    }

    func bytes() -> [UInt8] {
        done.wait()
        return Array(data)
    }
}

func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 33)
    }
}

/// Says where two long streams differ first.
func expectSame(_ got: [UInt8], _ expected: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
    let difference = zip(got, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    #expect(difference == nil && got.count == expected.count, "\(got.count) of \(expected.count) bytes", sourceLocation: sourceLocation)
}
