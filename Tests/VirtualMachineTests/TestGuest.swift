import CLinux
import Linux
import Logging
import Testing

@testable import VirtualMachine

/// A guest for tests of the machine itself: the project's kernel, and an initramfs of busybox and Debian's unmodified
/// vmware-rpctool, whose init is a shell script.
struct TestGuest {
    let kernel: String
    let initramfs: String
    let directory: RunDirectory

    /// - Parameter script: what init runs, with standard output on the console and raw mode on the session log's port.
    init(script: String) throws {
        let root = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
        let build = getenv("TETHER_BUILD_DIR").map { String(cString: $0) } ?? "\(root)/build"
        kernel = "\(build)/kernel/vmlinuz"
        try #require(Files.exists(kernel), "there is no \(kernel): run `make iso` first")
        directory = try RunDirectory(path: nil, isKept: false)
        initramfs = directory.file("initramfs")
        try directory.write(try Self.archive(script: script), to: "initramfs")
    }

    private static let prelude = """
        #!/bin/busybox sh
        /bin/busybox --install -s /bin
        export PATH=/bin:/usr/bin
        mount -t devtmpfs dev /dev; mount -t proc proc /proc
        exec > /dev/ttyS1 2>&1
        stty -F /dev/ttyS2 raw
        get() { vmware-rpctool "info-get guestinfo.$1"; }
        set_() { vmware-rpctool "info-set guestinfo.$1 $2"; }
        record() { echo "2026-01-02T03:04:05Z $1 F $2" > /dev/ttyS2; }
        total() { printf '{"bytes":%d,"sha256":"%s"}' "$(wc -c < $1)" "$(sha256sum < $1 | cut -d' ' -f1)"; }

        """

    private static func archive(script: String) throws -> [UInt8] {
        var archive = Archive()
        for name in ["bin", "dev", "proc", "tmp", "usr", "usr/bin", "lib", "lib/x86_64-linux-gnu", "lib64"] {
            archive.add(name, 0o040755, [])
        }
        archive.add("init", 0o100755, Array((prelude + script + "\npoweroff -f\n").utf8))
        for (path, name) in [
            ("/usr/bin/busybox", "bin/busybox"), ("/usr/bin/vmware-rpctool", "usr/bin/vmware-rpctool"),
            ("/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"),
            ("/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
        ] {
            archive.add(name, 0o100755, try Files.read(Files.exists(path) ? path : "/bin/busybox", limit: 8 << 20))
        }
        return archive.finished()
    }

    /// What a run gave.
    struct Result {
        var code: Int32
        var stdout: String
        var stderr: String
        /// What tetherctl would have said.
        var messages: [String]
    }

    func run(_ change: (inout RunOptions) -> Void = { _ in }) throws -> Result {
        var machine = MachineConfiguration(
            boot: .kernel(path: kernel, initrd: initramfs, arguments: "console=ttyS1 panic=-1 cryptomgr.notests"), disks: [],
            uuid: Array(0..<16))
        machine.memory = 256
        var options = RunOptions(machine: machine)
        options.accelerator = .tcg
        options.timeoutSeconds = 240
        let stdout = try directory.create("stdout")
        let stderr = try directory.create("stderr")
        options.stdout = stdout.rawValue
        options.stderr = stderr.rawValue
        change(&options)
        let messages = Messages()
        var log = Logger(label: "test") { _ in MessageHandler(messages: messages) }
        log.logLevel = .notice
        var run = ContainerRun(options, log: log)
        let code = try run.run()
        // It watches for signals while it runs. After it they are as they were: a write that nobody reads does not end this process.
        var action = sigaction()
        try attempt("sigaction") { sigaction(SIGPIPE, nil, &action) }
        if action.__sigaction_handler.sa_handler == nil { throw SyscallError("sigaction", "SIGPIPE has its default disposition", .ioError) }
        return Result(
            code: code, stdout: try Files.readText(directory.file("stdout")), stderr: try Files.readText(directory.file("stderr")),
            messages: messages.all)
    }
}

/// Collects log lines. The machine logs from the thread that runs it alone.
private final class Messages: @unchecked Sendable { var all: [String] = [] }

private struct MessageHandler: LogHandler {
    let messages: Messages
    var logLevel = Logger.Level.notice
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { messages.all.append("\(event.message)") }
}

/// A cpio archive in the newc format (cpio(5)), as the kernel unpacks it.
private struct Archive {
    private var bytes: [UInt8] = []
    private var number: UInt32 = 1

    mutating func add(_ name: String, _ mode: UInt32, _ content: [UInt8]) {
        func hex(_ value: UInt32) -> String {
            let digits = String(value, radix: 16)
            return String(repeating: "0", count: 8 - digits.utf8.count) + digits
        }
        let fields = [number, mode, 0, 0, 1, 0, UInt32(content.count), 0, 0, 0, 0, UInt32(name.utf8.count + 1), 0]
        bytes += Array(("070701" + fields.map(hex).joined() + name).utf8) + [0]
        pad()
        bytes += content
        pad()
        number += 1
    }

    mutating func finished() -> [UInt8] {
        add("TRAILER!!!", 0, [])
        return bytes
    }

    private mutating func pad() { while !bytes.count.isMultiple(of: 4) { bytes.append(0) } }
}
