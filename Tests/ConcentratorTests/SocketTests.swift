import CLinux
import Foundation
import LineEndpoint
import Linux
import Testing

/// Sockets that wait for connections at a path.
@Suite("Line endpoints: sockets", .serialized) struct SocketTests {
    private func directory() throws -> String {
        let path = NSTemporaryDirectory() + "tether-sockets-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    /// The umask is the process's: threads that change it for a moment have left it changed, and no file could be executed any more.
    @Test("sockets made by many threads at once are their owner's alone, and files made beside them are as ever")
    func socketModes() async throws {
        let directory = try directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        func mode(_ path: String) throws -> mode_t {
            var info = stat()
            try #require(lstat(path, &info) == 0)
            return info.st_mode & 0o777
        }
        try #require(mkdir(directory + "/before", 0o777) == 0)
        let before = try mode(directory + "/before")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for thread in 0..<8 {
                group.addTask {
                    for round in 0..<250 {
                        let path = directory + "/\(thread).\(round)"
                        _ = try Sockets.listen(path: path)
                        #expect(try mode(path) == 0o600)
                        let beside = path + ".d"
                        try #require(mkdir(beside, 0o777) == 0)
                        #expect(try mode(beside) == before)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("of several that begin on the same socket at the same moment one has it, also where one was left")
    func socketRace() throws {
        let directory = try directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let path = directory + "/serve.sock"
        for round in 0..<1000 {
            // The socket of the round before is nobody's any more, and stays where it is.
            if round % 2 == 0 { unlink(path) }
            let (numbers, lock) = (UnsafeMutableBufferPointer<Int32>.allocate(capacity: 4), NSLock())
            defer { numbers.deallocate() }
            nonisolated(unsafe) let results = numbers
            DispatchQueue.concurrentPerform(iterations: 4) { index in
                let number = (try? Sockets.listen(path: path).take()) ?? -1
                lock.withLock { results[index] = number }
            }
            let listeners = numbers.filter { $0 >= 0 }
            for number in listeners.dropFirst() { close(number) }
            try #require(listeners.count == 1, "round \(round)")
            // Whoever has it is who is reached.
            let client = try Sockets.connect(path: path)
            let listener = FileDescriptor(owning: listeners[0])
            let accepted = try #require(try Sockets.accept(listener))
            close(accepted.descriptor)
            _ = client.rawValue
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["serve.sock"])

        // Who begins meanwhile is waited for: the socket that it left is not looked at before.
        let other = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
        try #require(flock(other.rawValue, LOCK_EX) == 0)
        unlink(path)
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            if let listener = try? Sockets.listen(path: path) { _ = listener.rawValue }
            done.signal()
        }
        #expect(done.wait(timeout: .now() + 0.3) == .timedOut && !FileManager.default.fileExists(atPath: path))
        flock(other.rawValue, LOCK_UN)
        done.wait()
        #expect(FileManager.default.fileExists(atPath: path))
    }
}
