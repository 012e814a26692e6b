import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Containers made on this machine, as root: namespaces, root and process without a VM around them.
@Suite(.serialized) struct LauncherTests {
    /// A mounted root with busybox, which a root must be to be moved over `/`.
    final class Root {
        let path = NSTemporaryDirectory() + "/tether-root-\(UUID().uuidString)"

        init() throws {
            try #require(geteuid() == 0, "these tests make namespaces and mounts: run them as root")
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            try #require(mount("tmpfs", path, "tmpfs", 0, "size=16m") == 0)
            try FileManager.default.createDirectory(atPath: path + "/bin", withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: "/bin/busybox", toPath: path + "/bin/busybox")
            for name in ["sh", "cat", "ls", "id", "grep", "kill", "sleep", "hostname"] {
                try FileManager.default.createSymbolicLink(atPath: path + "/bin/" + name, withDestinationPath: "busybox")
            }
            try Data("echo\n".utf8).write(to: URL(fileURLWithPath: path + "/bin/plain"))
        }

        deinit {
            umount2(path, Int32(MNT_DETACH))
            rmdir(path)
        }
    }

    private func run(_ spec: ContainerSpec, in root: Root) throws -> (stdout: String, stderr: String, end: ProcessEnd) {
        let container = try Launcher.launch(spec, root: root.path)
        let outputs = [container.stdout, container.stderr].map { descriptor in
            var bytes: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = read(descriptor, &chunk, chunk.count)
                if count == 0 { break }
                if count > 0 { bytes += chunk[..<count] } else { usleep(1000) }
            }
            return String(decoding: bytes, as: UTF8.self)
        }
        var status: Int32 = 0
        waitpid(container.processID, &status, 0)
        container.killNamespaces()
        if let holder = container.holderID { waitpid(holder, nil, 0) }
        return (outputs[0], outputs[1], ProcessEnd(waitStatus: status))
    }

    private func spec(_ command: String) -> ContainerSpec {
        var spec = ContainerSpec(args: ["sh", "-c", command])
        spec.process.env = ["PATH=/bin"]
        spec.hostname = "box"
        return spec
    }

    @Test func outputAndStatusOfAContainer() throws {
        let result = try run(spec("echo out; echo err >&2; hostname; echo $$; exit 3"), in: Root())
        #expect(result.stdout == "out\nbox\n2\n")
        #expect(result.stderr == "err\n")
        #expect(result.end.exitCode == 3)
    }

    @Test func aSignalEndsAProcessUnderTheInit() throws {
        let result = try run(spec("kill -KILL $$; echo survived"), in: Root())
        #expect(result.end.signal == SIGKILL)
        #expect(result.end.exitCode == 137)
        #expect(result.stdout == "")
    }

    @Test func theProcessIsPIDOneWithoutTheInit() throws {
        var spec = spec("echo $$; kill -KILL $$; echo survived")
        spec.tether.usesInit = false
        let result = try run(spec, in: Root())
        #expect(result.stdout == "1\nsurvived\n")
        #expect(result.end.exitCode == 0)
    }

    @Test func nothingOfTheCallerLeaksIn() throws {
        let root = try Root()
        let secret = try FileDescriptor.open("/etc/passwd", O_RDONLY)
        let result = try run(spec("for f in 0 1 2 3 4 5 6 7 8 9 11 12 13 14 15 16; do [ -e /proc/$$/fd/$f ] && echo $f; done; cat /proc/1/maps"), in: root)
        #expect(secret.rawValue > 2)
        #expect(result.stdout == "0\n1\n2\n")
        // The namespaces' init is a copy of this process; its memory must not be readable from inside.
        #expect(result.stderr.contains("Permission denied"))
    }

    @Test(arguments: [("nowhere", 127), ("/bin/nowhere", 127), ("/bin/plain", 126), ("/bin", 126)] as [(String, UInt8)])
    func commandsThatCannotRun(_ command: String, _ code: UInt8) throws {
        let root = try Root()
        var spec = ContainerSpec(args: [command])
        spec.process.env = ["PATH=/bin"]
        do {
            _ = try Launcher.launch(spec, root: root.path)
            Issue.record("it started")
        } catch {
            #expect(error.operation == "exec")
            #expect(error.object == command)
            #expect(error.exitCode == code)
        }
    }

    @Test func aLinkInTheImageLeadsNoMountOut() throws {
        let root = try Root()
        try FileManager.default.createSymbolicLink(atPath: root.path + "/away", withDestinationPath: "/../../etc/made-by-a-test")
        var spec = spec("grep made-by-a-test /proc/mounts")
        spec.mounts = [ContainerMount(destination: "/away/deep", type: "tmpfs", source: "tmpfs", options: ["ro", "nosuid"])]
        let result = try run(spec, in: root)
        #expect(result.stdout.hasPrefix("tmpfs /etc/made-by-a-test/deep tmpfs ro,nosuid"))
        #expect(!FileManager.default.fileExists(atPath: "/etc/made-by-a-test"))
    }

    @Test func theKernelsSettingsAreNotTheContainersByDefault() throws {
        let result = try run(spec("echo '|/bin/sh' > /proc/sys/kernel/core_pattern; cat /proc/timer_list"), in: Root())
        #expect(result.stderr.contains("Read-only file system"))
        #expect(result.stdout == "")
    }

    @Test func aMountThatFailsIsNamed() throws {
        let root = try Root()
        var spec = spec("true")
        spec.mounts = [ContainerMount(destination: "/x", type: "nosuchfs", source: "none", options: [])]
        #expect(throws: LaunchError("mount", "nosuchfs on /x", "No such device")) { try Launcher.launch(spec, root: root.path) }
    }
}
