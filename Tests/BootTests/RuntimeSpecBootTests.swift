import Control
import ControlClient
import Foundation
import SessionLog
import Testing

/// What the runtime-spec promises a container, looked at from inside, as opencontainers/runtime-tools does it in its validation:
/// one container that has nearly every property, and one with the namespaces that need settings of their own.
@Suite("Boot: the runtime-spec, from inside", .serialized) struct RuntimeSpecBootTests {
    @Test("one container with nearly every property")
    func everything() throws {
        let vm = try LiveVM(["sh", "-c", Self.script], options: ["--cpus", "2"]) { config, process in
            Self.setProcess(&process)
            Self.setContainer(&config)
            config["hooks"] = Self.hooks
            config["linux"] = Self.linux
        }
        let session = try vm.client.attach(AttachRequest(stdout: .oldest, stderr: .oldest))
        try session.wait(for: "end\n", timeout: 60)
        let lines = session.output.split(separator: "\n").map(String.init)
        for line in Self.expected {
            #expect(lines.contains(line), "'\(line)' is missing in:\n\(session.output)\n\(session.errorOutput)")
        }
        try mounts(lines)
        try beside(vm)

        let order = try vm.shell("i=0; until grep -q poststart /order || [ $i -gt 50 ]; do sleep 0.1; i=$((i+1)); done; cat /order")
        let expected = [
            "prestart creating", "createRuntime creating", "createContainer creating", "startContainer created", "poststart running",
        ]
        #expect(order.out.split(separator: "\n").map(String.init) == expected, "\(order.err)")
        let ended = try vm.stop()
        #expect(ended.code == 143 && ended.console.contains("hook poststop stopped"), "\(ended.finished.errorText)")
    }

    private static func setProcess(_ process: inout [String: Any]) {
        let capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_MKNOD", "CAP_SYS_CHROOT"]
        process["capabilities"] = ["bounding", "permitted", "effective"].reduce(into: [:]) { $0[$1] = capabilities }
        process["user"] = ["uid": 0, "gid": 0, "umask": 0o027, "additionalGids": [10, 20]]
        process["env"] = ["PATH=/bin", "HOME=/root"]
        process["cwd"] = "/tmp"
        process["rlimits"] = [
            ["type": "RLIMIT_CORE", "soft": 1024, "hard": 4096], ["type": "RLIMIT_MEMLOCK", "soft": 65_536, "hard": 65_536],
            ["type": "RLIMIT_NPROC", "soft": 500, "hard": 600], ["type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 2 << 20],
        ]
        process["noNewPrivileges"] = true
        process["oomScoreAdj"] = 77
        process["ioPriority"] = ["class": "IOPRIO_CLASS_BE", "priority": 3]
        process["scheduler"] = ["policy": "SCHED_BATCH", "nice": 5]
        process["execCPUAffinity"] = ["initial": "0", "final": "1"]
    }

    private static func setContainer(_ config: inout [String: Any]) {
        config["hostname"] = "everything"
        config["domainname"] = "example.test"
        func tmpfs(_ path: String, _ options: [String]) -> [String: Any] {
            ["destination": path, "type": "tmpfs", "source": "tmpfs", "options": options]
        }
        func bind(_ path: String, _ options: [String]) -> [String: Any] {
            ["destination": path, "source": "/run/rootfs/m/a", "options": options]
        }
        config["mounts"] = [
            tmpfs("/m/a", ["size=1m", "mode=750"]), tmpfs("/m/a/b", ["nodev"]),
            bind("/m/recursive", ["rbind", "rro", "rnosuid"]), bind("/m/plain", ["rbind", "ro"]), bind("/m/one", ["bind"]),
            tmpfs("/m/shared", ["shared", "noexec", "nosuid"]), tmpfs("/m/unbindable", ["unbindable"]),
        ]
    }

    private static var linux: [String: Any] {
        [
            "sysctl": ["kernel.shmmax": "123456", "kernel.msgmax": "4321", "fs.mqueue.msg_max": "12"],
            "maskedPaths": ["/proc/timer_list", "/sys/firmware", "/etc/passwd"], "readonlyPaths": ["/proc/sys", "/etc"],
            "rootfsPropagation": "shared", "personality": ["domain": "LINUX32"],
            "devices": [["path": "/dev/mine", "type": "c", "major": 240, "minor": 7, "fileMode": 0o640, "uid": 5, "gid": 6]],
            "resources": [
                "memory": ["limit": 96 << 20], "pids": ["limit": 200], "cpu": ["quota": 50_000, "period": 100_000],
                "devices": [
                    ["allow": false, "access": "rwm"], ["allow": true, "type": "c", "major": 240, "minor": 7, "access": "r"],
                ],
            ],
            "seccomp": [
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    ["names": ["chroot"], "action": "SCMP_ACT_ERRNO"],
                    ["names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28],
                ],
            ],
        ]
    }

    /// Each notes its list and what the state that it reads says.
    private static var hooks: [String: Any] {
        func hook(_ name: String, _ file: String, program: String = "/run/rootfs/bin/busybox") -> [[String: Any]] {
            let script = "read -r s; s=${s#*\\\"status\\\":\\\"}; echo \(name) ${s%%\\\"*} >> \(file)"
            return [["path": program, "args": ["sh", "-c", script]]]
        }
        return [
            "prestart": hook("prestart", "/run/rootfs/order"), "createRuntime": hook("createRuntime", "/run/rootfs/order"),
            "createContainer": hook("createContainer", "/run/rootfs/order"),
            "startContainer": hook("startContainer", "/order", program: "/bin/busybox"),
            "poststart": hook("poststart", "/run/rootfs/order"), "poststop": hook("hook poststop", "/dev/ttyS1"),
        ]
    }

    private static let script = """
        echo id=$(id -u):$(id -g):$(id -G) umask=$(umask) cwd=$(pwd) host=$(hostname) domain=$(cat /proc/sys/kernel/domainname)
        echo machine=$(uname -m) oom=$(cat /proc/self/oom_score_adj) io=$(ionice -p $$)
        echo policy=$(cut -d' ' -f41 /proc/self/stat) nice=$(cut -d' ' -f19 /proc/self/stat)
        grep -E '^(Cap|NoNewPrivs|Seccomp:|Cpus_allowed_list)' /proc/self/status | tr '\\t' ' '
        awk '/core file|locked|processes|stack/ { print $2 "=" $(NF-2) ":" $(NF-1) }' /proc/self/limits
        for f in kernel/shmmax kernel/msgmax fs/mqueue/msg_max; do echo $f=$(cat /proc/sys/$f); done
        for f in memory.max pids.max cpu.max; do echo $f=$(cat /sys/fs/cgroup/$f); done; echo cgroup=$(cat /proc/self/cgroup)
        stat -c '%n %F %t:%T %a %u:%g' /dev/mine
        try() { "$@" > /dev/null 2> /tmp/why && echo "$*: done" || echo "$*: $(sed 's/.*: //' /tmp/why)"; }
        try head -c 1 /dev/zero; try head -c 1 /dev/mine; try sh -c 'echo > /dev/mine'; try sh -c 'echo > /dev/null'
        try mknod /dev/disk b 8 0; try head -c 1 /dev/disk; try chroot / true; try mkdir /tmp/new; try touch /etc/new
        try sh -c 'echo 1 > /proc/sys/kernel/msgmax'; echo masked=$(wc -c < /proc/timer_list):$(ls /sys/firmware | wc -l):$(wc -c < /etc/passwd)
        for m in a a/b recursive recursive/b plain plain/b one shared; do try touch /m/$m/x; done
        sed 's/ - .*//; s/^[0-9]* [0-9]* [0-9:]* [^ ]* /mount /' /proc/self/mountinfo; echo end; exec sleep 900
        """

    private static let expected = [
        "id=0:0:0 10 20 umask=0027 cwd=/tmp host=everything domain=example.test",
        "machine=i686 oom=77 io=best-effort: prio 3", "policy=3 nice=5",
        // CAP_CHOWN 0, CAP_DAC_OVERRIDE 1, CAP_KILL 5, CAP_SYS_CHROOT 18, CAP_MKNOD 27.
        "CapInh: 0000000000000000", "CapPrm: 0000000008040023", "CapEff: 0000000008040023", "CapBnd: 0000000008040023",
        "CapAmb: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2", "Cpus_allowed_list: 0-1",
        "core=1024:4096", "locked=65536:65536", "processes=500:600", "stack=1048576:2097152",
        "kernel/shmmax=123456", "kernel/msgmax=4321", "fs/mqueue/msg_max=12",
        "memory.max=100663296", "pids.max=200", "cpu.max=50000 100000", "cgroup=0::/",
        "/dev/mine character special file f0:7 640 5:6",
        // The first is allowed, but there is no such device; the second is not.
        "head -c 1 /dev/zero: done", "head -c 1 /dev/mine: No such device or address",
        "sh -c echo > /dev/mine: Operation not permitted", "sh -c echo > /dev/null: done",
        "mknod /dev/disk b 8 0: done", "head -c 1 /dev/disk: Operation not permitted",
        "chroot / true: Operation not permitted", "mkdir /tmp/new: No space left on device", "touch /etc/new: Read-only file system",
        "sh -c echo 1 > /proc/sys/kernel/msgmax: Read-only file system", "masked=0:0:0",
        "touch /m/a/x: done", "touch /m/a/b/x: done", "touch /m/one/x: done", "touch /m/shared/x: done",
        "touch /m/recursive/x: Read-only file system", "touch /m/recursive/b/x: Read-only file system",
        "touch /m/plain/x: Read-only file system", "touch /m/plain/b/x: done",
    ]

    /// Options and propagation, from mountinfo: "mount /m/shared rw,nosuid shared:7".
    private func mounts(_ lines: [String]) throws {
        func mount(_ path: String) throws -> (options: [Substring], propagation: String) {
            let fields = try #require(lines.first { $0.hasPrefix("mount \(path) ") }, "\(path) is not mounted").split(separator: " ")
            return (fields[2].split(separator: ","), fields.dropFirst(3).joined(separator: " "))
        }
        #expect(try mount("/").propagation.hasPrefix("shared:"))
        let shared = try mount("/m/shared")
        #expect(shared.propagation.hasPrefix("shared:") && shared.options.contains("noexec") && shared.options.contains("nosuid"))
        #expect(try mount("/m/unbindable").propagation == "unbindable")
        #expect(try mount("/m/a").propagation == "" && mount("/m/a").options.contains("rw"))
        #expect(try mount("/m/recursive/b").options.contains("nosuid") && mount("/m/recursive/b").options.contains("ro"))
        #expect(try mount("/m/plain/b").options.contains("rw") && mount("/m/plain/b").options.contains("nodev"))
        #expect(!lines.contains { $0.hasPrefix("mount /m/one/b ") })
    }

    /// A process that is started beside it has what it does not say itself from the container's.
    private func beside(_ vm: LiveVM) throws {
        let (_, out, err) = try vm.shell(
            """
            grep -E '^(Cpus_allowed_list|Seccomp:|CapBnd|NoNewPrivs)' /proc/self/status | tr '\\t' ' '
            echo machine=$(uname -m); mkdir /tmp/new 2>&1 | sed 's/.*: //'; cat /proc/self/cgroup
            """)
        for line in ["Cpus_allowed_list: 1", "Seccomp: 2", "CapBnd: 0000000008040023", "NoNewPrivs: 1", "No space left on device"] {
            #expect(out.contains(line + "\n"), "'\(line)' is missing in \(out)\(err)")
        }
    }

    @Test("a hook that fails ends the start; of a start that was begun and failed, poststop hooks are told")
    func failedStart() throws {
        var hooks = Self.hooks
        hooks["createContainer"] = [["path": "/run/rootfs/bin/busybox", "args": ["sh", "-c", "echo why >&2; exit 4"]]]
        let vm = try VM.boot(config: configuration(["true"]) { config, _ in config["hooks"] = hooks })
        vm.expectFailure(125, phase: "launching", says: ["createContainer", "why"])
        #expect(vm.out.isEmpty && vm.console.contains("hook poststop stopped"), "\(vm.console.suffix(2000))")
    }

    @Test("a user namespace with its mappings, and a time namespace with its offsets")
    func userAndTime() throws {
        let script = """
            echo id=$(id -u):$(id -g); tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map
            tr -s ' ' < /proc/self/timens_offsets; up=$(cut -d. -f1 /proc/uptime); [ $up -gt 7000 ] && [ $up -lt 7900 ] && echo late
            stat -c 'image=%u:%g' /bin/busybox; stat -c 'own=%u:%g' /tmp; touch /tmp/x && echo writable; hostname
            head -c 1 /dev/zero | wc -c; echo 1 > /proc/sys/vm/drop_caches; mount -t tmpfs none /tmp && echo mounted
            """
        let vm = try LiveVM(["sh", "-c", "\(script)\necho end; exec sleep 900"]) { config, process in
            config["linux"] = [
                "namespaces": ["mount", "pid", "ipc", "uts", "cgroup", "user", "time"].map { ["type": $0] },
                "uidMappings": [["containerID": 0, "hostID": 100_000, "size": 65_536]],
                "gidMappings": [["containerID": 0, "hostID": 200_000, "size": 1000]],
                "timeOffsets": ["monotonic": ["secs": 3600, "nanosecs": 5], "boottime": ["secs": 7200]],
            ]
            let options = ["uid=1000", "gid=7", "mode=777"]
            config["mounts"] = [["destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": options]]
            process["capabilities"] = ["bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"]]
        }
        let session = try vm.client.attach(AttachRequest(stdout: .oldest, stderr: .oldest))
        try session.wait(for: "end\n", timeout: 60)
        let lines = session.output.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        for line in [
            "id=0:0", "0 100000 65536", "0 200000 1000", "monotonic 3600 5", "boottime 7200 0", "late", "image=65534:65534",
            "own=1000:7", "writable", "box", "1", "mounted",
        ] { #expect(lines.contains(line), "'\(line)' is missing in:\n\(session.output)\n\(session.errorOutput)") }
        // Which of the two streams is told first is chance.
        try session.wait("the complaint that what is the VM's is not writable", timeout: 60) { session.errorOutput.contains("drop_caches") }

        let spaces = try vm.shell(
            "for n in user time mnt; do [ $(readlink /proc/self/ns/$n) = $(readlink /proc/2/ns/$n) ] && echo $n; done; id -u")
        #expect(spaces.out == "user\ntime\nmnt\n0\n", "\(spaces.err)")
        #expect(try vm.stop().code == 143)
    }
}
