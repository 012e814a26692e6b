import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Containers made on this machine, as root: namespaces, root and process without a VM around them.
extension ContainerSystemTests { @Suite struct BasicTests {
    @Test func outputAndStatusOfAContainer() throws {
        let result = try run(shell("echo out; echo err >&2; hostname; echo $$; exit 3"), in: Root())
        #expect(result.stdout == "out\nbox\n2\n")
        #expect(result.stderr == "err\n")
        #expect(result.end.exitCode == 3)
    }

    @Test func aSignalEndsAProcessUnderTheInit() throws {
        let result = try run(shell("kill -KILL $$; echo survived"), in: Root())
        #expect(result.end.signal == SIGKILL)
        #expect(result.end.exitCode == 137)
        #expect(result.stdout == "")
    }

    @Test func theProcessIsPIDOneWithoutTheInit() throws {
        var spec = shell("echo $$; kill -KILL $$; echo survived")
        spec.tether.usesInit = false
        let result = try run(spec, in: Root())
        #expect(result.stdout == "1\nsurvived\n")
        #expect(result.end.exitCode == 0)
    }

    @Test func nothingOfTheCallerLeaksIn() throws {
        let root = try Root()
        let secret = try FileDescriptor.open("/etc/passwd", O_RDONLY)
        let command = "for f in 0 1 2 3 4 5 6 7 8 9 11 12 13 14 15 16; do [ -e /proc/$$/fd/$f ] && echo $f; done; cat /proc/1/maps"
        let result = try run(shell(command), in: root)
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
            _ = try start(spec, in: root)
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
        var spec = shell("grep made-by-a-test /proc/mounts")
        spec.mounts = [ContainerMount(destination: "/away/deep", type: "tmpfs", source: "tmpfs", options: ["ro", "nosuid"])]
        let result = try run(spec, in: root)
        #expect(result.stdout.hasPrefix("tmpfs /etc/made-by-a-test/deep tmpfs ro,nosuid"))
        #expect(!FileManager.default.fileExists(atPath: "/etc/made-by-a-test"))
    }

    @Test func theKernelsSettingsAreNotTheContainersByDefault() throws {
        let result = try run(shell("echo '|/bin/sh' > /proc/sys/kernel/core_pattern; cat /proc/timer_list"), in: Root())
        #expect(result.stderr.contains("Read-only file system"))
        #expect(result.stdout == "")
    }

    @Test func aMountThatFailsIsNamed() throws {
        let root = try Root()
        var spec = shell("true")
        spec.mounts = [ContainerMount(destination: "/x", type: "nosuchfs", source: "none", options: [])]
        #expect(throws: LaunchError("mount", "nosuchfs on /x", "No such device")) { try start(spec, in: root) }
    }
} }
