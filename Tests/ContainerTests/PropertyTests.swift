import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Properties of the process and of the container, as seen from inside.
extension ContainerSystemTests {
    @Suite struct PropertyTests {
        @Test func devicesAreMadeAndReplaceTheStandardOnes() throws {
            var spec = shell("stat -c '%n %t:%T %a %u:%g' /dev/zero /dev/mine /dev/full; stat -c '%F %a' /dev/fifo; stat -c %F /dev/disk")
            var null = ContainerDevice(path: "/dev//zero", kind: .character, major: 1, minor: 3)
            null.mode = 0o600
            null.uid = 5
            null.gid = 6
            let mine = ContainerDevice(path: "/dev/mine", kind: .character, major: 1, minor: 9)
            var fifo = ContainerDevice(path: "/dev/fifo", kind: .fifo, major: 0, minor: 0)
            fifo.mode = 0o640
            spec.devices = [null, mine, fifo, ContainerDevice(path: "/dev/disk", kind: .block, major: 7, minor: 99)]
            #expect(
                try run(spec, in: Root()).stdout == """
                    /dev/zero 1:3 600 5:6
                    /dev/mine 1:9 666 0:0
                    /dev/full 1:7 666 0:0
                    fifo 640
                    block special file

                    """)
        }

        @Test func aDeviceDoesNotReplaceWhatTheImageHas() throws {
            let root = try Root()
            try root.write("a file", to: "/etc/device")
            var spec = shell("true")
            spec.devices = [ContainerDevice(path: "/etc/device", kind: .character, major: 1, minor: 3)]
            #expect(throws: LaunchError("make device", "/etc/device", "File exists")) { try run(spec, in: root) }
        }

        @Test func kernelParametersAreOfTheContainersNamespaces() throws {
            let path = "/proc/sys/kernel/msgmax"
            let before = try String(contentsOfFile: path, encoding: .utf8)
            var spec = shell("cat \(path)")
            spec.sysctl = [KeyValue(key: "kernel.msgmax", value: "4321")]
            #expect(try run(spec, in: Root()).stdout == "4321\n")
            #expect(try String(contentsOfFile: path, encoding: .utf8) == before)
            spec.sysctl = [KeyValue(key: "kernel.nowhere", value: "1")]
            #expect(throws: LaunchError("set sysctl", "kernel.nowhere=1", "No such file or directory")) { try run(spec, in: Root()) }
        }

        @Test(
            arguments: [
                (MountPropagation(kind: .shared, isRecursive: true), ["shared", "shared"]),
                (MountPropagation(kind: .shared, isRecursive: false), ["shared", "-"]),
                (MountPropagation(kind: .private, isRecursive: true), ["-", "-"]),
                (MountPropagation(kind: .unbindable, isRecursive: false), ["unbindable", "-"]),
                (nil, ["-", "-"]),
            ] as [(MountPropagation?, [String])]) func theRootHasItsPropagation(_ wanted: MountPropagation?, _ tags: [String]) throws
        {
            var spec = shell("cat /proc/self/mountinfo")
            spec.rootfsPropagation = wanted
            let mounts = try run(spec, in: Root()).stdout.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            let seen = ["/", "/dev/shm"].map { target in
                let fields = mounts.first { $0[4] == target } ?? []
                let tag = fields.dropFirst(6).prefix { $0 != "-" }.first ?? "-"
                return String(tag.prefix { $0 != ":" })
            }
            #expect(seen == tags)
        }

        @Test func recursiveOptionsReachTheMountsBelow() throws {
            let root = try Root()
            let below = root.path + "/below"
            try FileManager.default.createDirectory(atPath: below + "/deep", withIntermediateDirectories: true)
            try #require(mount("tmpfs", below, "tmpfs", 0, nil) == 0)
            try FileManager.default.createDirectory(atPath: below + "/deep", withIntermediateDirectories: true)
            try #require(mount("tmpfs", below + "/deep", "tmpfs", 0, nil) == 0)
            defer {
                umount2(below + "/deep", Int32(MNT_DETACH))
                umount2(below, Int32(MNT_DETACH))
            }
            var spec = shell("grep ' /x' /proc/mounts")
            let options = [
                ["rbind", "rro,rnosuid", "rnoatime"], ["rbind", "rro", "rrw"], ["rbind", "ro", "rnodev", "rnoexec,rnosymfollow"],
            ]
            for (index, options) in options.enumerated() {
                spec.mounts.append(ContainerMount(destination: "/x\(index)", type: nil, source: below, options: options))
            }
            let lines = try run(spec, in: root).stdout.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            func flags(_ target: String) -> Set<String> {
                Set((lines.first { $0[1] == target } ?? ["", "", "", ""])[3].split(separator: ",").map(String.init))
            }
            for target in ["/x0", "/x0/deep"] { #expect(flags(target).isSuperset(of: ["ro", "nosuid", "noatime"])) }
            for target in ["/x1", "/x1/deep"] { #expect(flags(target).contains("rw")) }
            #expect(flags("/x2").contains("ro") && flags("/x2/deep").contains("rw"))
            for target in ["/x2", "/x2/deep"] { #expect(flags(target).isSuperset(of: ["nodev", "noexec", "nosymfollow"])) }
        }

        @Test func aMountHasMappedOwners() throws {
            let root = try Root()
            try FileManager.default.createDirectory(atPath: root.path + "/data", withIntermediateDirectories: true)
            try root.write("x", to: "/data/file")
            chown(root.path + "/data/file", 1000, 1001)
            chmod(root.path + "/data", 0o777)
            var spec = shell("stat -c %u:%g /mapped/file; echo > /mapped/new; stat -c %u:%g /mapped/new /data/new")
            var mount = ContainerMount(destination: "/mapped", type: nil, source: root.path + "/data", options: ["bind"])
            mount.uidMappings = [IDMapping(containerID: 1000, hostID: 0, size: 1), IDMapping(containerID: 0, hostID: 1000, size: 1)]
            mount.gidMappings = [IDMapping(containerID: 1001, hostID: 0, size: 1), IDMapping(containerID: 0, hostID: 1001, size: 1)]
            spec.mounts = [mount]
            #expect(try run(spec, in: root).stdout == "0:0\n0:0\n1000:1001\n")

            spec.mounts[0] = ContainerMount(destination: "/mapped", type: "tmpfs", source: "tmpfs", options: [])
            spec.mounts[0].uidMappings = mount.uidMappings
            spec.mounts[0].gidMappings = mount.gidMappings
            #expect(throws: LaunchError("map the IDs of mount", "tmpfs on /mapped", "only a bind mount can be mapped")) {
                try run(spec, in: root)
            }
            spec.mounts[0] = ContainerMount(destination: "/mapped", type: nil, source: root.path + "/data", options: ["bind", "idmap"])
            #expect(throws: LaunchError.self) { try run(spec, in: root) }
        }

        @Test func theClocksAreAhead() throws {
            var spec = shell("cat /proc/uptime; readlink /proc/self/ns/time")
            spec.namespaces.time = true
            spec.timeOffsets.boottime = TimeOffset(seconds: 1_000_000_000, nanoseconds: 5)
            spec.timeOffsets.monotonic = TimeOffset(seconds: -1, nanoseconds: 0)
            let root = try Root()
            let first = try run(spec, in: root).stdout
            #expect((Double(first.split(separator: ".").first ?? "") ?? 0) > 1_000_000_000)
            #expect(!first.contains(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/time")))
            spec.process.args[2] = "sleep 100"
            let container = try start(spec, in: root)
            defer { end(container) }
            let process = try complete(try container.execute(shellProcess("cat /proc/uptime"), placement: Placement()))
            #expect((Double(finish(process).stdout.split(separator: ".").first ?? "") ?? 0) > 1_000_000_000)
        }

        @Test func prioritiesSchedulerAndPersonality() throws {
            var spec = shell("ionice -p $$; cat /proc/self/stat; uname -m; cat /proc/self/oom_score_adj")
            spec.process.ioPriority = IOPriority(ioClass: .bestEffort, priority: 6)
            var scheduler = SchedulerSettings(policy: .batch)
            scheduler.nice = 7
            spec.process.scheduler = scheduler
            spec.process.oomScoreAdjustment = 321
            spec.personality = .linux32
            let root = try Root(["sh", "ionice", "cat", "uname"])
            var lines = try run(spec, in: root).stdout.split(separator: "\n").map(String.init)
            #expect(lines[0].hasSuffix("prio 6") && lines[0].hasPrefix("best-effort"))
            // proc(5): 19 nice, 41 policy, 40 real-time priority.
            var fields = lines[1].split(separator: " ").map(String.init)
            #expect(fields[18] == "7" && fields[40] == "3" && fields[39] == "0")
            #expect(lines[2] == "i686")
            #expect(lines[3] == "321")
            scheduler = SchedulerSettings(policy: .fifo)
            scheduler.priority = 4
            spec.process.scheduler = scheduler
            lines = try run(spec, in: root).stdout.split(separator: "\n").map(String.init)
            fields = lines[1].split(separator: " ").map(String.init)
            #expect(fields[40] == "1" && fields[39] == "4")
        }

        @Test func aFurtherProcessHasItsCPUs() throws {
            let container = try start(shell("grep Cpus_allowed_list /proc/self/status; sleep 100"), in: Root())
            defer { end(container) }
            let all = read(container.process.stdout, until: { $0.contains("\n") })
            var process = shellProcess("grep Cpus_allowed_list /proc/self/status")
            process.execCPUAffinity = ExecCPUAffinity()
            process.execCPUAffinity?.initial = CPUList("0")
            process.execCPUAffinity?.final = CPUList("1")
            #expect(finish(try complete(try container.execute(process, placement: Placement()))).stdout == "Cpus_allowed_list:\t1\n")
            process.execCPUAffinity?.final = nil
            #expect(finish(try complete(try container.execute(process, placement: Placement()))).stdout == "Cpus_allowed_list:\t0\n")
            #expect(all != "Cpus_allowed_list:\t0\n")
            process.execCPUAffinity?.final = CPUList("8000")
            #expect(throws: LaunchError("set CPU affinity", "sh", "Invalid argument")) {
                try complete(try container.execute(process, placement: Placement()))
            }
        }

        @Test func securityLabelsTakeAKernelThatHasThem() throws {
            var spec = shell("true")
            spec.process.apparmorProfile = "docker-default"
            if !FileManager.default.fileExists(atPath: "/sys/module/apparmor/parameters/enabled") {
                #expect(throws: LaunchError("set security label", "process.apparmorProfile docker-default", "the kernel has no AppArmor")) {
                    try run(spec, in: Root())
                }
            }
            spec.process.apparmorProfile = nil
            let label = "system_u:system_r:container_t:s0"
            spec.process.selinuxLabel = label
            if !FileManager.default.fileExists(atPath: "/sys/fs/selinux/enforce") {
                #expect(throws: LaunchError("set security label", "process.selinuxLabel \(label)", "the kernel has no SELinux")) {
                    try run(spec, in: Root())
                }
            }
        }

        /// A filter that lets mkdir(2) fail with EPERM's neighbour, so that nothing else can be the reason.
        private var noMakingOfDirectories: SyscallFilter {
            func instruction(_ code: UInt16, _ yes: UInt8, _ no: UInt8, _ value: UInt32) -> [UInt8] {
                [UInt8(code & 255), UInt8(code >> 8), yes, no] + (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
            }
            // The call's number; 83 is mkdir's on x86-64, 44 and 46 are sendto's and sendmsg's: then SECCOMP_RET_ERRNO with EXDEV, else
            // SECCOMP_RET_ALLOW.
            let program =
                instruction(0x20, 0, 0, 0) + instruction(0x15, 2, 0, 83) + instruction(0x15, 1, 0, 44) + instruction(0x15, 0, 1, 46)
                + instruction(0x06, 0, 0, 0x0005_0000 | UInt32(EXDEV)) + instruction(0x06, 0, 0, 0x7FFF_0000)
            return SyscallFilter(instructions: program)
        }

        @Test(arguments: [true, false]) func theFilterIsInPlace(_ noNewPrivileges: Bool) throws {
            let root = try Root(["sh", "mkdir", "grep", "sleep"])
            var spec = shell("mkdir /x; grep -h Seccomp: /proc/self/status; sleep 100")
            spec.process.noNewPrivileges = noNewPrivileges
            spec.process.user.uid = noNewPrivileges ? 1000 : 0
            let container = try start(spec, in: root, Placement(filter: noMakingOfDirectories))
            defer { end(container) }
            #expect(read(container.process.stdout, until: { $0.contains("\n") }) == "Seccomp:\t2\n")
            var process = spec.process
            process.args[2] = "mkdir /y"
            let result = finish(try complete(try container.execute(process, placement: Placement(filter: noMakingOfDirectories))))
            #expect(result.stderr.contains("cross-device link"))
            #expect(throws: LaunchError("install seccomp filter", "linux.seccomp", "9 bytes are no program")) {
                try container.execute(process, placement: Placement(filter: SyscallFilter(instructions: [UInt8](repeating: 0, count: 9))))
            }
            #expect(throws: LaunchError("install seccomp filter", "sh", "Invalid argument")) {
                let nonsense = SyscallFilter(instructions: [UInt8](repeating: 255, count: 8))
                return try complete(try container.execute(process, placement: Placement(filter: nonsense)))
            }
        }

        @Test func aPipeCanBeOpenedAgainByItsUser() throws {
            var spec = shell("echo again > /proc/self/fd/1; echo error > /dev/stderr")
            spec.process.user.uid = 1000
            let result = try run(spec, in: Root())
            #expect(result.stdout == "again\n")
            #expect(result.stderr == "error\n")
        }
    }
}
