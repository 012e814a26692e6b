import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Namespaces that are not there by default, or need a cgroup.
extension ContainerSystemTests {
    @Suite struct NamespaceTests {
        /// A cgroup of this machine's unified hierarchy.
        private final class Scratch {
            let path: String
            let directory: FileDescriptor
            init?(_ name: String) throws {
                let mounts = try String(contentsOfFile: "/proc/mounts", encoding: .utf8).split(separator: "\n").map {
                    $0.split(separator: " ")
                }
                guard let mount = mounts.first(where: { $0[2] == "cgroup2" }) else { return nil }
                path = String(mount[1]) + "/tether-test-\(getpid())-" + name
                guard mkdir(path, 0o755) == 0 else { return nil }
                directory = try FileDescriptor.open(path, O_PATH | O_DIRECTORY)
            }
            deinit { rmdir(path) }
        }

        @Test(arguments: [true, false]) func theCgroupIsTheRootOfItsNamespace(_ usesInit: Bool) throws {
            let main = try #require(try Scratch("main"), "this machine has no cgroup2 to make groups in")
            let holders = try #require(try Scratch("holders"))
            let further = try #require(try Scratch("further"))
            // The files of the version 1 hierarchies of this machine stand beside.
            var spec = shell("grep ^0: /proc/self/cgroup; grep /sys/fs/cgroup /proc/mounts; sleep 100")
            spec.tether.usesInit = usesInit
            let container = try start(
                spec, in: Root(), Placement(cgroup: main.directory.rawValue, holderCgroup: holders.directory.rawValue))
            defer { end(container) }
            let text = read(container.process.stdout, until: { $0.contains("cgroup2") && $0.hasSuffix("\n") })
            #expect(text.hasPrefix("0::/\ncgroup /sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec"))
            #expect(try String(contentsOfFile: main.path + "/cgroup.procs", encoding: .utf8).contains("\(container.process.processID)\n"))
            if let holder = container.holderID {
                #expect(try String(contentsOfFile: holders.path + "/cgroup.procs", encoding: .utf8) == "\(holder)\n")
            }
            let process = try complete(
                try container.execute(shellProcess("grep ^0: /proc/self/cgroup"), placement: Placement(cgroup: further.directory.rawValue)))
            #expect(finish(process).stdout == "0::/../" + (further.path as NSString).lastPathComponent + "\n")
        }

        @Test func aContainerWithoutACgroupNamespaceMountsNone() throws {
            var spec = shell("grep cgroup2 /proc/mounts")
            spec.namespaces.cgroup = false
            #expect(try run(spec, in: Root()).stdout == "")
        }

        private func mapped(_ command: String) -> ContainerSpec {
            var spec = shell(command)
            spec.namespaces.user = true
            spec.uidMappings = [IDMapping(containerID: 0, hostID: 100_000, size: 65_536)]
            spec.gidMappings = [IDMapping(containerID: 0, hostID: 200_000, size: 65_536)]
            return spec
        }

        /// As the owner of a root for such a namespace has to be: nobody of the namespace may write to files of others.
        private func mappedRoot() throws -> Root {
            let root = try Root()
            for path in [root.path, root.path + "/etc"] { chown(path, 100_000, 200_000) }
            return root
        }

        @Test(arguments: [true, false]) func rootOfAUserNamespaceIsSomebodyOutside(_ usesInit: Bool) throws {
            let root = try mappedRoot()
            try FileManager.default.createDirectory(atPath: root.path + "/work", withIntermediateDirectories: true)
            chown(root.path + "/work", 100_000, 200_000)
            var spec = mapped(
                """
                id -u; cat /proc/self/uid_map; echo > /work/file; stat -c %t:%T /dev/null; ls /sys | grep -c .
                echo x > /sys/kernel/profiling || echo read-only; sleep 100
                """)
            spec.tether.usesInit = usesInit
            let container = try start(spec, in: root, Placement(streams: .pipes(stdin: true)))
            defer { end(container) }
            let lines = read(container.process.stdout, until: { $0.contains("read-only") }).split(separator: "\n").map(String.init)
            #expect(lines[0] == "0")
            #expect(lines[1].split(separator: " ") == ["0", "100000", "65536"])
            #expect(lines[2] == "1:3")
            #expect((Int(lines[3]) ?? 0) > 5 && lines[4] == "read-only")
            var status = stat()
            #expect(stat(root.path + "/work/file", &status) == 0 && status.st_uid == 100_000 && status.st_gid == 200_000)
            var process = shellProcess("id -u; id -g; readlink /proc/self/ns/user")
            process.user.uid = 7
            process.user.gid = 8
            let text = finish(try complete(try container.execute(process, placement: Placement()))).stdout
            #expect(text.hasPrefix("7\n8\nuser:"))
            #expect(!text.contains(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/user")))
            let outside = try String(contentsOfFile: "/proc/\(container.process.processID)/status", encoding: .utf8)
            #expect(outside.contains("Uid:\t100000\t100000\t100000\t100000"))
        }

        @Test func aUserNamespaceHasTerminalsAndNames() throws {
            let root = try mappedRoot()
            try root.write("web:x:33:34::/var/www:/bin/sh\n", to: "/etc/passwd")
            var spec = mapped("tty; id -u; stat -c %u:%g /dev/pts/0")
            spec.process.user.username = "web"
            let container = try start(spec, in: root, Placement(streams: .terminal(nil)))
            defer { end(container) }
            #expect(read(container.process.terminal) == "/dev/pts/0\r\n33\r\n33:5\r\n")
        }

        @Test func mappingsThatTheKernelRefusesAreNamed() throws {
            var spec = mapped("true")
            spec.uidMappings.append(IDMapping(containerID: 10, hostID: 500_000, size: 5))
            #expect(throws: LaunchError("set uid_map", "of the user namespace for container", "Invalid argument")) {
                try run(spec, in: Root())
            }
            spec = mapped("true")
            spec.uidMappings = [IDMapping(containerID: 1, hostID: 100_000, size: 5)]
            #expect(throws: LaunchError("become root of the user namespace", "the namespaces' init", "Invalid argument")) {
                try run(spec, in: mappedRoot())
            }
        }
    }
}
