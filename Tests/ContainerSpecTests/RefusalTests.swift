import ContainerSpec
import Testing

@Suite struct RefusalTests {
    /// What `runc spec` writes on a host with cgroup v2.
    private static let runcDefault = #"""
        {"ociVersion": "1.2.0",
         "process": {"terminal": true, "user": {"uid": 0, "gid": 0}, "args": ["sh"], "env": ["PATH=/usr/bin:/bin", "TERM=xterm"], "cwd": "/",
           "capabilities": {"bounding": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
             "effective": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"], "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]},
           "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}], "noNewPrivileges": true},
         "root": {"path": "rootfs", "readonly": true}, "hostname": "runc",
         "mounts": [
           {"destination": "/proc", "type": "proc", "source": "proc"},
           {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
           {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
           {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
           {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
           {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
           {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}],
         "linux": {"resources": {"devices": [{"allow": false, "access": "rwm"}]},
           "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}],
           "maskedPaths": ["/proc/acpi", "/proc/kcore"], "readonlyPaths": ["/proc/bus", "/proc/sys"]}}
        """#

    @Test func runcDefaultNamesWhatIsInTheWay() throws {
        #expect(paths(Self.runcDefault) == ["linux.namespaces[1].type"])
        #expect(issues(Self.runcDefault).allSatisfy { $0.kind == .unsupported })
        let spec = try decode(Self.runcDefault.replacing(#", {"type": "network"}"#, with: ""))
        #expect(spec.mounts.count == 7 && spec.hostname == "runc" && spec.namespaces == ContainerNamespaces())
        #expect(spec.process.terminal && spec.resources.devices == [DeviceRule(allow: false)])
        #expect(spec.process.capabilities.ambient == 0 && spec.process.capabilities.effective == 1 << 29 | 1 << 5 | 1 << 10)
    }

    @Test(arguments: [
        (#"{"process": {"args": ["a"]}}"#, "ociVersion"), (#"{"ociVersion": "1.0.0"}"#, "process"),
        (#"{"ociVersion": "1.0.0", "process": null}"#, "process"), (#"{"ociVersion": "1.0.0", "process": []}"#, "process"),
        (#"{"ociVersion": "1.0.0", "process": {}}"#, "process.args"), (#"{"ociVersion": 1, "process": {"args": ["a"]}}"#, "ociVersion"),
        (#"{"ociVersion": "2.0.0", "process": {"args": ["a"]}}"#, "ociVersion"),
        (#"{"ociVersion": "1.0", "process": {"args": ["a"]}}"#, "ociVersion"),
        (#"{"ociVersion": "1.x.0", "process": {"args": ["a"]}}"#, "ociVersion"),
        (#"{"ociVersion": "1.0.0", "process": {"args": []}}"#, "process.args"),
        (#"{"ociVersion": "1.0.0", "process": {"args": [""]}}"#, "process.args[0]"),
        (#"{"ociVersion": "1.0.0", "process": {"args": "sh"}}"#, "process.args"),
        (#"{"ociVersion": "1.0.0", "process": {"args": ["a", 1]}}"#, "process.args[1]"),
        (#"{"ociVersion": "1.0.0", "process": {"args": ["a", "b\u0000c"]}}"#, "process.args[1]"), ("[]", ""),
    ])
    func wholeDocument(_ json: String, _ path: String) { #expect(paths(json) == [path], "\(refusal(json))") }

    @Test(arguments: [
        (#""cwd2": 1, "env": ["A"]"#, "process.env[0]"), (#""env": ["=x"]"#, "process.env[0]"), (#""env": {"A": "b"}"#, "process.env"),
        (#""env": ["A=\u0000"]"#, "process.env[0]"), (#""user": {"uid": -1}"#, "process.user.uid"),
        (#""user": {"uid": 4294967295}"#, "process.user.uid"), (#""user": {"gid": 4294967296}"#, "process.user.gid"),
        (#""user": {"uid": 1.0}"#, "process.user.uid"), (#""user": {"uid": "0"}"#, "process.user.uid"),
        (#""user": {"uid": 99999999999999999999}"#, "process.user.uid"), (#""user": {"umask": 512}"#, "process.user.umask"),
        (#""user": {"additionalGids": [0, -1]}"#, "process.user.additionalGids[1]"), (#""user": {"username": 1}"#, "process.user.username"),
        (#""user": 0"#, "process.user"), (#""capabilities": ["CAP_KILL"]"#, "process.capabilities"),
        (#""capabilities": {"bounding": ["CAP_NO_SUCH"]}"#, "process.capabilities.bounding[0]"),
        (#""capabilities": {"bounding": ["CAP_KILL", "KILL"]}"#, "process.capabilities.bounding[1]"),
        (#""capabilities": {"permitted": ["cap_kill"]}"#, "process.capabilities.permitted[0]"),
        (#""capabilities": {"permitted": ["5"]}"#, "process.capabilities.permitted[0]"),
        (#""capabilities": {"inheritable": ["CAP_"]}"#, "process.capabilities.inheritable[0]"),
        (#""capabilities": {"effective": ["CAP_KILL"]}"#, "process.capabilities.effective"),
        (#""rlimits": [{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}]"#, "process.rlimits[0].type"),
        (#""rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]"#, "process.rlimits[0].soft"),
        (#""rlimits": [{"type": "RLIMIT_CPU", "hard": 1}]"#, "process.rlimits[0].soft"),
        (#""rlimits": [{"soft": 1, "hard": 1}]"#, "process.rlimits[0].type"),
        (
            #""rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]"#,
            "process.rlimits[1].type"
        ),
        (#""rlimits": [{"type": "RLIMIT_CPU", "soft": "1", "hard": 1}]"#, "process.rlimits[0].soft"),
        (#""rlimits": [7]"#, "process.rlimits[0]"),
        (#""noNewPrivileges": "yes""#, "process.noNewPrivileges"), (#""oomScoreAdj": 1001"#, "process.oomScoreAdj"),
        (#""oomScoreAdj": -1001"#, "process.oomScoreAdj"), (#""terminal": 0"#, "process.terminal"),
        (#""apparmorProfile": "p\nq""#, "process.apparmorProfile"), (#""selinuxLabel": 1"#, "process.selinuxLabel"),
        (#""commandLine": "x""#, "process.commandLine"),
    ])
    func process(_ members: String, _ path: String) {
        let json = document(process: members)
        #expect(paths(json) == [path], "\(refusal(json))")
    }

    @Test(arguments: ["relative", "", "a\\u0000", "/a\\u0000"])
    func workingDirectory(_ path: String) {
        #expect(paths(#"{"ociVersion": "1.0.0", "process": {"args": ["a"], "cwd": "\#(path)"}}"#) == ["process.cwd"])
    }

    @Test(arguments: [
        (#""windows": {"layerFolders": ["a"]}"#, "windows"), (#""vm": {"kernel": {"path": "/k"}}"#, "vm"),
        (#""solaris": {"milestone": "x"}"#, "solaris"), (#""zos": {"x": 1}"#, "zos"), (#""hostname": "a b""#, "hostname"),
        (#""hostname": "-a""#, "hostname"),
        (#""hostname": "\#(String(repeating: "a", count: 65))""#, "hostname"), (#""hostname": 5"#, "hostname"),
        (#""domainname": "a/b""#, "domainname"),
        (#""root": "x""#, "root"), (#""root": {"readonly": 1}"#, "root.readonly"), (#""annotations": {"a.b": 1}"#, #"annotations["a.b"]"#),
        (#""annotations": []"#, "annotations"), (#""mounts": {}"#, "mounts"), (#""mounts": [{"type": "tmpfs"}]"#, "mounts[0].destination"),
        (#""mounts": [{"destination": "x", "type": "tmpfs"}]"#, "mounts[0].destination"),
        (#""mounts": [{"destination": "//", "type": "tmpfs"}]"#, "mounts[0].destination"),
        (#""mounts": [{"destination": "/x"}]"#, "mounts[0].type"), (#""mounts": [{"destination": "/x", "type": ""}]"#, "mounts[0].type"),
        (#""mounts": [{"destination": "/x", "options": ["bind"]}]"#, "mounts[0].source"),
        (#""mounts": [{"destination": "/x", "source": "y", "options": ["bind"]}]"#, "mounts[0].source"),
        (#""mounts": [{"destination": "/x", "source": "", "options": ["bind"]}]"#, "mounts[0].source"),
        (#""mounts": [{"destination": "/x", "source": 1, "options": ["bind"]}]"#, "mounts[0].source"),
        (#""mounts": [{"destination": "/x", "type": "tmpfs", "options": [""]}]"#, "mounts[0].options[0]"),
        (#""mounts": [{"destination": "/x", "type": "tmpfs", "options": "ro"}]"#, "mounts[0].options"),
        (#""linux": {"namespaces": []}"#, "linux.namespaces"), (#""linux": {"namespaces": [{"type": "pid"}]}"#, "linux.namespaces"),
        (#""linux": {"namespaces": [{"type": "mount"}, {"type": "mount"}]}"#, "linux.namespaces[1].type"),
        (#""linux": {"namespaces": [{"type": "mount"}, {"type": "network"}]}"#, "linux.namespaces[1].type"),
        (#""linux": {"namespaces": [{"type": "mount"}, {"type": "time"}, {"type": "time"}]}"#, "linux.namespaces[2].type"),
        (#""linux": {"namespaces": [{"type": "mount"}, {"type": "nope"}]}"#, "linux.namespaces[1].type"),
        (#""linux": {"namespaces": [{"type": "mount"}, {}]}"#, "linux.namespaces[1].type"),
        (#""linux": {"namespaces": [{"type": "mount", "path": "/proc/1/ns/mnt"}]}"#, "linux.namespaces[0].path"),
        (#""linux": {"maskedPaths": ["proc"]}"#, "linux.maskedPaths[0]"), (#""linux": {"readonlyPaths": [1]}"#, "linux.readonlyPaths[0]"),
        (#""linux": {"seccomp": {"defaultAction": "ALLOW"}}"#, "linux.seccomp.defaultAction"),
        (#""linux": {"intelRdt": {"closID": "x"}}"#, "linux.intelRdt"),
        (#""linux": {"cgroupsPath": 1}"#, "linux.cgroupsPath"),
        (#""linux": {"memoryPolicy": {"mode": "MPOL_BIND"}}"#, "linux.memoryPolicy"),
        (#""linux": {"mountLabel": "x"}"#, "linux.mountLabel"), (#""linux": {"netDevices": {"eth0": {"name": "e"}}}"#, "linux.netDevices"),
        (#""tether": 1"#, "tether"), (#""tether": {"rootf": {}}"#, "tether.rootf"), (#""tether": {"id": ""}"#, "tether.id"),
        (#""tether": {"id": "../x"}"#, "tether.id"),
        (#""tether": {"rootfs": {"device": "sda"}}"#, "tether.rootfs.device"),
        (#""tether": {"rootfs": {"device": "LABEL="}}"#, "tether.rootfs.device"),
        (#""tether": {"rootfs": {"device": "ID=x"}}"#, "tether.rootfs.device"),
        (#""tether": {"rootfs": {"device": "/dev/\u0000"}}"#, "tether.rootfs.device"),
        (#""tether": {"rootfs": {"type": "a b"}}"#, "tether.rootfs.type"),
        (#""tether": {"rootfs": {"options": [""]}}"#, "tether.rootfs.options[0]"),
        (#""tether": {"rootfs": {"timeoutSeconds": 0}}"#, "tether.rootfs.timeoutSeconds"),
        (#""tether": {"rootfs": {"timeoutSeconds": 3601}}"#, "tether.rootfs.timeoutSeconds"),
        (#""tether": {"rootfs": {"lable": 1}}"#, "tether.rootfs.lable"), (#""tether": {"log": {"format": "json"}}"#, "tether.log.format"),
        (#""tether": {"log": {"x": null}}"#, "tether.log.x"), (#""tether": {"stop": {"signal": "SIGFOO"}}"#, "tether.stop.signal"),
        (#""tether": {"stop": {"signal": 0}}"#, "tether.stop.signal"),
        (#""tether": {"stop": {"signal": 9223372036854775807}}"#, "tether.stop.signal"),
        (#""tether": {"stop": {"timeoutSeconds": -1}}"#, "tether.stop.timeoutSeconds"),
        (#""tether": {"drain": {"graceMilliseconds": true}}"#, "tether.drain.graceMilliseconds"),
        (#""tether": {"init": 1}"#, "tether.init"), (#""tether": {"debug": "x"}"#, "tether.debug"),
        (#""tether": {"attach": {"wait": true}}"#, "tether.attach.authorizedKeys"),
        (#""tether": {"attach": {"authorizedKeys": ["ssh-ed25519 A"]}}"#, "tether.attach.authorizedKeys[0]"),
        (#""tether": {"attach": {"authorizedKeys": ["ssh-ed25519"]}}"#, "tether.attach.authorizedKeys[0]"),
        (#""tether": {"attach": {"authorizedKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\n"]}}"#, "tether.attach.authorizedKeys[0]"),
        (#""tether": {"attach": {"authorizedKeys": [], "authentication": "publickey", "vic": false}}"#, "tether.attach.authorizedKeys"),
        (#""tether": {"attach": {"vic": true, "key": 1}}"#, "tether.attach.key"),
        (#""tether": {"attach": {"vic": true, "authentication": "password"}}"#, "tether.attach.authentication"),
        (#""tether": {"attach": {"authentication": "none", "hostKeys": ["secret"]}}"#, "tether.attach.hostKeys[0]"),
        (#""tether": {"attach": {"vic": true, "hostKeys": ["-----BEGIN"]}}"#, "tether.attach.hostKeys[0]"),
        (#""tether": {"attach": {"vic": true, "device": "ttyS0"}}"#, "tether.attach.device"),
        (#""tether": {"attach": {"vic": true, "device": "/dev/../x"}}"#, "tether.attach.device"),
        (#""tether": {"attach": {"vic": true}, "control": {"device": "/dev/ttyS0"}}"#, "tether.attach.device"),
        (#""tether": {"attach": {"vic": true, "waitTimeoutSeconds": 86401}}"#, "tether.attach.waitTimeoutSeconds"),
        (#""tether": {"attach": {"authentication": "none", "vic": 1}}"#, "tether.attach.vic"),
    ])
    func property(_ members: String, _ path: String) {
        let json = document(members)
        #expect(paths(json) == [path], "\(refusal(json))")
    }

    @Test(arguments: [
        #""hooks": {}, "windows": null, "vm": {"kernel": {"path": ""}}"#,
        #""hooks": {"prestart": [], "poststop": null}, "linux": {"cgroupsPath": "/docker/x", "timeOffsets": {"monotonic": {"secs": 0}}}"#,
        #""linux": {"personality": {}, "uidMappings": [], "resources": {"cpu": {"shares": 0, "quota": 0, "cpus": ""}, "memory": {"limit": 0, "kernel": -1}}}"#,
        #""tether": {"stdin": "", "restart": "", "healthcheck": {}, "sessions": {}, "control": {}, "memoryReserveKiB": null}"#,
        #""linux": {"seccomp": null, "resources": {"devices": [], "memory": {}}, "sysctl": {}, "cgroupsPath": "", "devices": [], "rootfsPropagation": ""}"#,
        #""mounts": null, "annotations": null, "tether": null, "root": null, "hostname": null"#,
        #""tether": {"rootfs": null, "stop": {"signal": null}, "attach": {}}"#,
    ])
    func whatAsksForNothingIsTaken(_ members: String) throws {
        #expect(try decode(document(members)) == ContainerSpec(args: ["/bin/true"]))
    }

    @Test func ambientNeedsPermittedAndInheritable() {
        let json = document(process: #""capabilities": {"ambient": ["CAP_KILL", "CAP_SYS_ADMIN"], "permitted": ["CAP_KILL"]}"#)
        #expect(
            issues(json).map(\.description) == [
                "process.capabilities.ambient: CAP_SYS_ADMIN must be in permitted too",
                "process.capabilities.ambient: CAP_KILL, CAP_SYS_ADMIN must be in inheritable too",
            ])
    }

    @Test func messagesSayWhatWasFoundAndWhatIsExpected() {
        #expect(
            refusal(document(#""tether": {"stop": {"signal": "SIGFOO"}}"#, process: #""user": {"uid": "root"}, "env": ["A\nB"]"#))
                == "process.env[0]: expected NAME=value, found \"A\\u{a}B\"; "
                + "process.user.uid: expected an integer from 0 to 4294967294, found \"root\"; "
                + "tether.stop.signal: expected a signal such as \"SIGTERM\", \"SIGRTMIN+3\" or a number from 1 to 64, found \"SIGFOO\"")
    }

    @Test func longAndHostileTextIsCutInMessages() {
        let long = String(repeating: "ä", count: 10_000)
        let text = refusal(document("\"tether\": {\"\(long)\": 1, \"\\u001b[2J\": 2}"))
        #expect(text.utf8.count < 400)
        #expect(!text.utf8.contains { $0 < 0x20 })
    }

    @Test func issuesAreBounded() {
        do throws(SpecError) {
            _ = try decode(document(process: "\"env\": [\(Array(repeating: "1", count: 100).joined(separator: ","))]"))
            Issue.record("accepted")
        } catch {
            #expect(error.issues.count == SpecError.limit && error.omitted == 80)
            #expect(error.description.hasSuffix("; and 80 more"))
        }
    }
}
