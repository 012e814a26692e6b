import ContainerSpec
import Testing

/// A process object alone, as exec sessions are started with one.
@Suite struct LoneProcessTests {
    private let container: ContainerSpec

    init() throws {
        container = try decode(
            document(
                #""linux": {"namespaces": [{"type": "mount"}]}"#,
                process: #"""
                    "env": ["A=1"], "user": {"uid": 5, "additionalGids": [6], "umask": 63}, "noNewPrivileges": true, "oomScoreAdj": 7,
                    "terminal": true,
                    "consoleSize": {"height": 1, "width": 2}, "capabilities": {"bounding": ["CAP_KILL"]}, "apparmorProfile": "p",
                    "selinuxLabel": "l",
                    "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}], "ioPriority": {"class": "IOPRIO_CLASS_IDLE"},
                    "scheduler": {"policy": "SCHED_BATCH"}, "execCPUAffinity": {"final": "1"}
                    """#))
    }

    private func decodeAlone(_ json: String, in container: ContainerSpec? = nil) throws -> ContainerProcess {
        try ContainerProcess.decode(Array(json.utf8), in: container ?? self.container)
    }

    private func refusedPaths(_ json: String, in container: ContainerSpec? = nil) -> [String] {
        do throws(SpecError) {
            _ = try ContainerProcess.decode(Array(json.utf8), in: container ?? self.container)
            return []
        } catch { return error.issues.map(\.path) }
    }

    @Test func variablesAreAddedToTheContainersEnvironment() throws {
        #expect(try decodeAlone(#"{"args": ["id"], "addEnv": ["B=2", "A=3", "AB=4"]}"#).env == ["B=2", "A=3", "AB=4"])
        #expect(try decodeAlone(#"{"args": ["id"], "env": ["A=1", "AB=5"], "addEnv": ["A=x=y"]}"#).env == ["AB=5", "A=x=y"])
        #expect(refusedPaths(#"{"args": ["id"], "addEnv": ["=1"]}"#) == ["addEnv[0]"])
    }

    @Test func aTerminalMayHaveModes() throws {
        let modes = "[[3, 8], [38, 0], [3, 127], [11, 4294967295]]"
        let process = try decodeAlone(#"{"args": ["id"], "terminal": true, "terminalModes": \#(modes)}"#)
        #expect(process.terminalModes.modes.map { $0.opcode } == [38, 3, 11])
        #expect(process.terminalModes.modes.map { $0.value } == [0, 127, .max])
        #expect(try decodeAlone(#"{"args": ["id"], "terminalModes": [[3, 8]]}"#).terminalModes.modes.isEmpty)
        for wrong in ["[[0, 1]]", "[[160, 1]]", "[[3]]", "[[3, 4294967296]]", "[[3, -1]]", "[3]", #"[["3", 1]]"#] {
            #expect(refusedPaths(#"{"args": ["id"], "terminal": true, "terminalModes": \#(wrong)}"#) == ["terminalModes[0]"], "\(wrong)")
        }
        #expect(refusedPaths(#"{"args": ["id"], "terminal": true, "terminalModes": 5}"#) == ["terminalModes"])
        #expect(try TerminalSettings.decode(Array("[[3,8]]".utf8)).modes.count == 1 && TerminalSettings.decode([]).modes.isEmpty)
        for wrong in ["5", "[[3]]", "[", "{}"] {
            #expect(throws: SpecError.self) { try TerminalSettings.decode(Array(wrong.utf8)) }
        }
        let many = "[" + (0..<160).map { _ in "[3,8]" }.joined(separator: ",") + "]"
        #expect(throws: SpecError.self) { try TerminalSettings.decode(Array(many.utf8)) }
    }

    @Test func whatIsAbsentIsTheContainers() throws {
        let process = try decodeAlone(#"{"args": ["id"], "cwd": null}"#)
        var expected = container.process
        expected.args = ["id"]
        expected.terminal = false
        expected.consoleSize = nil
        #expect(process == expected && process == container.process.beside(args: ["id"]))
        #expect(process.noNewPrivileges && process.resourceLimits.count == 1 && process.user.uid == 5 && process.cwd == "/")
    }

    @Test func whatIsThereCountsAsAWhole() throws {
        let process = try decodeAlone(
            #"""
            {"args": ["id"], "cwd": "/x", "env": ["B=2"], "user": {"uid": 1}, "capabilities": {"permitted": ["CAP_CHOWN"]}, "rlimits": [],
             "noNewPrivileges": false, "oomScoreAdj": 0, "terminal": true, "consoleSize": {"height": 3, "width": 4}, "apparmorProfile": "q",
             "selinuxLabel": "m", "ioPriority": {"class": "IOPRIO_CLASS_BE"}, "scheduler": {"policy": "SCHED_OTHER"},
             "execCPUAffinity": {"initial": "0"}}
            """#)
        #expect(process.cwd == "/x" && process.env == ["B=2"] && process.user.uid == 1 && process.user.additionalGids == [])
        #expect(process.user.umask == 0o022 && process.capabilities.bounding == 0 && process.capabilities.permitted == 1)
        #expect(process.resourceLimits == [] && !process.noNewPrivileges && process.oomScoreAdjustment == 0)
        #expect(process.terminal && process.consoleSize == ConsoleSize(rows: 3, columns: 4))
        #expect(process.apparmorProfile == "q" && process.selinuxLabel == "m" && process.ioPriority?.ioClass == .bestEffort)
        #expect(process.scheduler?.policy == .other && process.execCPUAffinity?.initial?.words == [1])
        #expect(process.execCPUAffinity?.final == nil)
    }

    @Test(arguments: [
        ("{}", ["args"]), (#"{"args": []}"#, ["args"]), (#"{"args": [""]}"#, ["args[0]"]), ("[]", [""]), ("", [""]), ("{", [""]),
        (#"{"args": ["a"], "user": {"uid": -1}, "env": ["x"]}"#, ["env[0]", "user.uid"]),
        (#"{"args": ["a"], "scheduler": {"policy": "SCHED_RR"}}"#, ["scheduler.priority"]),
    ])
    func refused(_ json: String, _ paths: [String]) { #expect(refusedPaths(json) == paths) }

    @Test func userNamespaceMapsTheUser() throws {
        let mapped = try decode(
            linux(
                #"""
                "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}], "gidMappings": [{"containerID": 0, "hostID": 0, "size": 5}]
                """#,
                namespaces: ["mount", "user"]))
        #expect(try decodeAlone(#"{"args": ["a"], "user": {"uid": 9, "gid": 4}}"#, in: mapped).user.uid == 9)
        #expect(
            refusedPaths(#"{"args": ["a"], "user": {"uid": 10, "gid": 5, "additionalGids": [1, 7]}}"#, in: mapped) == [
                "user.uid", "user.gid", "user.additionalGids",
            ])
    }

    @Test func unknownMembersAreIgnoredWithAWarning() throws {
        var warnings: [SpecIssue] = []
        _ = try ContainerProcess.decode(Array(#"{"args": ["a"], "x": 1}"#.utf8), in: container, warnings: &warnings)
        #expect(warnings.map(\.path) == ["x"])
    }
}
