import CLinux
import Foundation
import Testing

@testable import Linux

@Suite("Files that a container shares") struct SharedFileTests {
    private func merge(_ old: String, _ new: String, _ present: String) -> String {
        String(decoding: LineMerge.merge(from: Array(old.utf8), to: Array(new.utf8), in: Array(present.utf8)), as: UTF8.self)
    }

    @Test("A57: what somebody has written into the file stays when a lease changes it")
    func edits() {
        let old = "127.0.0.1\tlocalhost\n127.0.1.1\tbox\n10.0.0.5\tweb.localhost\n"
        let new = "127.0.0.1\tlocalhost\n127.0.1.1\tbox\n10.0.0.6\tweb.localhost\n"
        #expect(merge(old, new, old) == new)
        #expect(merge(old, new, old + "192.0.2.1\tmine\n") == new + "192.0.2.1\tmine\n")
        #expect(merge(old, new, "# mine\n\n" + old + "192.0.2.1\tmine") == "# mine\n\n" + new + "192.0.2.1\tmine\n")
        // Lines of ours that are not there any more do not come back, and what nobody changed is not doubled.
        #expect(merge(old, new, "127.0.0.1\tlocalhost\n") == "127.0.0.1\tlocalhost\n10.0.0.6\tweb.localhost\n")
        #expect(merge(old, new, "") == "10.0.0.6\tweb.localhost\n")
        #expect(merge(old, new, new) == new)
        #expect(merge(old, "", old + "x\n") == "x\n" && merge("", new, "") == new)
    }

    @Test("a name server takes the place of the one before, in front of one that somebody added, and behind one that somebody put first")
    func servers() {
        let (old, new) = ("nameserver 10.0.0.2\noptions x\n", "search a\nnameserver 10.0.0.3\noptions x\n")
        #expect(merge(old, new, "nameserver 9.9.9.9\n" + old) == "nameserver 9.9.9.9\n" + new)
        #expect(merge(old, new, old + "nameserver 9.9.9.9\n") == new + "nameserver 9.9.9.9\n")
        #expect(merge("options x\n", new, "nameserver 9.9.9.9\n") == "nameserver 9.9.9.9\nsearch a\nnameserver 10.0.0.3\n")
    }

    @Test("nobody who has the file keeps PID 1 waiting; it is written whole, and what is too long is left alone")
    func inPlace() throws {
        let path = FileManager.default.temporaryDirectory.path + "/shared-\(UUID().uuidString)"
        defer { unlink(path) }
        func text() throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
        var file = try SharedFile(path)
        try file.update(to: "one\ntwo\n")
        // As the container has it: a lease makes who opens the file wait for 45 s.
        let theirs = try FileDescriptor.open(path, O_RDONLY)
        for kind in [F_RDLCK, F_WRLCK] {
            #expect(fcntl(theirs.rawValue, 1024, Int32(kind)) == -1 && errno == EAGAIN)  // F_SETLEASE
        }
        try file.update(to: "three\n")
        #expect(try text() == "three\n")
        try Data("three\nmine\n".utf8).write(to: URL(fileURLWithPath: path))
        try file.update(to: "four\n")
        #expect(try text() == "four\nmine\n")

        let long = "four\n" + String(repeating: "x", count: SharedFile.limit)
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        handle.write(Data(long.utf8))
        #expect(throws: SyscallError.self) { try file.update(to: "five\n") }
        #expect(try text() == long)
        // Later it is tried again.
        try handle.truncate(atOffset: 5)
        try file.update(to: "five\n")
        #expect(try text() == "five\n")
    }

    @Test("a file of which it knows what is in it is changed from there")
    func known() throws {
        let path = FileManager.default.temporaryDirectory.path + "/shared-\(UUID().uuidString)"
        defer { unlink(path) }
        try Data("one\ntwo\n".utf8).write(to: URL(fileURLWithPath: path))
        var file = try SharedFile(path, content: "one\n")
        try file.update(to: "1\n")
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "1\ntwo\n")
    }
}
