import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Containers made on this machine, as root: namespaces, root and process without a VM around them.
extension ContainerSystemTests {
    @Suite struct BasicTests {
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

        /// Followed, such a link has the mount cover what the process is executed from, which then is "not found".
        @Test(arguments: [
            ("/proc", "/", "proc on /proc"), ("/proc", "bin", "proc on /proc"), ("/sys", "/bin", "sysfs on /sys"),
            ("/sys", "nowhere", "sysfs on /sys"), ("/dev", "/bin", "tmpfs on /dev (mode=755,size=65536k)"),
        ])
        func aLinkInThePlaceOfAStandardMountIsRefused(_ path: String, _ link: String, _ mount: String) throws {
            let root = try Root()
            try FileManager.default.createSymbolicLink(atPath: root.path + path, withDestinationPath: link)
            let cause = "the image has a symbolic link there, where a directory has to be"
            #expect(throws: LaunchError("mount", mount, cause)) { try start(shell("echo unreachable"), in: root) }
            var spec = shell("echo unreachable")
            spec.mounts = [ContainerMount(destination: "/proc//", type: "proc", source: "proc", options: [])]
            #expect(throws: LaunchError.self) { try start(spec, in: root) }
            // A mount of the user's own is one that a link may lead elsewhere.
            let other = try Root()
            try FileManager.default.createSymbolicLink(atPath: other.path + "/data", withDestinationPath: "/srv")
            spec = shell("grep -c ' /srv ' /proc/mounts")
            spec.mounts = [ContainerMount(destination: "/data", type: "tmpfs", source: "tmpfs", options: [])]
            #expect(try run(spec, in: other).stdout == "1\n")
        }

        @Test(arguments: ["/here", "/bin/..", "/here/../here", "/up/up"])
        func aMountOnTheRootItselfIsRefused(_ destination: String) throws {
            let root = try Root()
            try FileManager.default.createSymbolicLink(atPath: root.path + "/here", withDestinationPath: "/")
            try FileManager.default.createSymbolicLink(atPath: root.path + "/up", withDestinationPath: "../..")
            var spec = shell("echo unreachable")
            spec.mounts = [ContainerMount(destination: destination, type: "tmpfs", source: "tmpfs", options: [])]
            let cause = "that is the container's root itself, where a link of the image leads"
            #expect(throws: LaunchError("mount", "tmpfs on \(destination)", cause)) { try start(spec, in: root) }
            spec.mounts = []
            spec.maskedPaths = [destination]
            #expect(throws: LaunchError("mask", destination, "Device or resource busy")) { try start(spec, in: root) }
            spec.maskedPaths = []
            spec.readonlyPaths = [destination]
            #expect(throws: LaunchError("make read-only", destination, "Device or resource busy")) { try start(spec, in: root) }
            // The root bound elsewhere is another place.
            spec = shell("ls /again")
            spec.mounts = [
                ContainerMount(destination: "/again", type: nil, source: root.path, options: ["bind"]),
                ContainerMount(destination: "/again", type: "tmpfs", source: "tmpfs", options: []),
            ]
            #expect(try run(spec, in: root).end.exitCode == 0)
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
    }
}
