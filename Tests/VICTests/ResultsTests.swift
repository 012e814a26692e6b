import Testing
import VIC

@Suite("What VIC's portlayer is told")
struct ResultsTests {
    private func names(_ keys: [VICKeyValue]) -> [String] { keys.map { String($0.key.split(separator: ".").last ?? "") } }

    @Test("a start ends with started, an end with stoptime")
    func order() {
        let results = VICResults(id: "c1", isExec: false)
        let started = results.started(at: 1_500_000_007, created: 1_500_000_001, resurrections: 2)
        #expect(names(started) == ["createtime", "starttime", "stoptime", "resurrections", "runblock", "status", "started"])
        #expect(started.map { $0.value } == ["1500000001", "1500000007", "0", "2", "false", "0", "true"])
        // What the host said of it stays where it is not known.
        #expect(names(results.started(at: 7, created: 0, resurrections: 0)) == names(started).filter { $0 != "createtime" })
        let ended = results.ended(status: 137, at: 1_500_000_009, startedAt: 1_500_000_007)
        #expect(ended.map { $0.key } == ["guestinfo.vice..sessions|c1.status", "guestinfo.vice..sessions|c1.detail.stoptime"])
        #expect(ended.map { $0.value } == ["137", "1500000009"])
        // The clock was set back meanwhile.
        #expect(results.ended(status: 0, at: 1_400_000_000, startedAt: 1_500_000_007).last?.value == "1500000007")
    }

    @Test("a failure says why; only that of the container has a time of its end")
    func failures() {
        let exec = VICResults(id: "e1", isExec: true).failed("permission denied", status: 126, at: 7, created: 5, endsVM: false)
        #expect(exec.last == VICKeyValue(VICKey.session("e1", isExec: true).field("started", .readWrite), "permission denied"))
        #expect(exec.last?.key == "guestinfo.vice..execs|e1.started@non-persistent")
        #expect(exec.first { $0.key.contains("starttime") }?.value == "7" && exec.first { $0.key.contains("stoptime") }?.value == "0")
        let primary = VICResults(id: "c1", isExec: false).failed("true", status: 125, at: 7, created: 5, endsVM: true)
        #expect(primary.last?.key == "guestinfo.vice..sessions|c1.detail.stoptime" && primary.last?.value == "7")
        #expect(primary.first { $0.key.hasSuffix("started") }?.value == "the process was not started")
    }

    @Test(
        "reasons are in VIC's words",
        arguments: [
            ("", "exec", "sleep", "the container is paused", 125, "exec sleep: the container is paused"),
            ("A4", "exec", "/not/there", "No such file or directory", 127, "stat /not/there: no such file or directory"),
            ("A5", "exec", "notthere", "not found in PATH", 127, "notthere: no such executable in PATH"),
            ("A6", "exec", "/etc/motd", "Permission denied", 126, "permission denied"),
            ("A7", "exec", "/text", "Exec format error", 126, "fork/exec /text: exec format error"),
            ("A14", "find user", "nonexistent", "…", 125, "Unable to find user nonexistent: no matching entries in passwd file"),
            ("A15", "find group", "nonexistent", "…", 125, "Unable to find group nonexistent: no matching entries in group file"),
            ("A12", "find user", "8589934592", "…", 125, "Uids and gids must be in range 0-2147483647"),
            ("A13", "find group", "-100", "…", 125, "Uids and gids must be in range 0-2147483647"),
            ("A2", "exec", "./date", "No such file or directory", 127, "stat /srv/date: no such file or directory"),
            ("A2", "exec", "../bin/./date", "No such file or directory", 127, "stat /bin/date: no such file or directory"),
            ("A7", "exec", "lost", "its interpreter or dynamic loader does not exist", 127, "fork/exec lost: no such file or directory"),
            ("A7", "exec", "/lost", "its interpreter or dynamic loader does not exist", 127, "fork/exec /lost: no such file or directory"),
            ("A17", "set working directory", "/file", "Not a directory", 125, "set working directory /file: Not a directory"),
        ] as [(String, String, String, String, UInt8, String)])
    func reasons(case: String, operation: String, object: String, cause: String, code: UInt8, expected: String) {
        #expect(VICResults.reason(operation, object, cause, exitCode: code, directory: "/srv") == expected)
    }
}
