import ContainerSpec
import Testing

@Suite struct HookTests {
    @Test func allSixLists() throws {
        let hooks = try decode(
            document(
                #"""
                "hooks": {"prestart": [{"path": "/a"}], "createRuntime": [{"path": "/b", "args": ["b", "", "x"], "env": ["A=b", "C="],
                "timeout": 1}, {"path": "/b2"}],
                  "createContainer": [{"path": "/c", "timeout": 3600}], "startContainer": [{"path": "/d", "args": []}],
                  "poststart": [{"path": "/e"}],
                  "poststop": [{"path": "/f", "args": null}]}
                """#)
        ).hooks
        var second = ContainerHook(path: "/b")
        second.args = ["b", "", "x"]
        second.env = ["A=b", "C="]
        second.timeoutSeconds = 1
        #expect(hooks.prestart == [ContainerHook(path: "/a")] && hooks.createRuntime == [second, ContainerHook(path: "/b2")])
        #expect(hooks.createContainer.first?.timeoutSeconds == 3600 && hooks.startContainer.first?.args == ["/d"])
        #expect(hooks.poststart.first?.path == "/e" && hooks.poststop.first?.args == ["/f"] && !hooks.isEmpty)
        #expect(hooks.prestart.first?.timeoutSeconds == 30 && hooks.prestart.first?.env == [])
        #expect(try decode(document(#""hooks": {}"#)).hooks.isEmpty)
    }

    @Test(arguments: [
        (#"{"prestart": {}}"#, ["hooks.prestart"]), (#"{"poststop": [1]}"#, ["hooks.poststop[0]"]),
        (#"{"poststart": [{}]}"#, ["hooks.poststart[0].path"]),
        (#"{"createRuntime": [{"path": "x"}]}"#, ["hooks.createRuntime[0].path"]),
        (#"{"createContainer": [{"path": "/x", "timeout": 0}]}"#, ["hooks.createContainer[0].timeout"]),
        (#"{"startContainer": [{"path": "/x", "timeout": 3601}]}"#, ["hooks.startContainer[0].timeout"]),
        (
            #"{"prestart": [{"path": "/x", "args": [1]}, {"path": "/x", "env": ["A", "=b"]}]}"#,
            ["hooks.prestart[0].args[0]", "hooks.prestart[1].env[0]", "hooks.prestart[1].env[1]"]
        ),
        (#"{"prestart": [{"path": "/x\u0000"}]}"#, ["hooks.prestart[0].path"]),
    ])
    func refused(_ hooks: String, _ expected: [String]) {
        let json = document("\"hooks\": \(hooks)")
        #expect(paths(json) == expected, "\(refusal(json))")
    }

    @Test func bounded() {
        func many(_ count: Int) -> String {
            document("\"hooks\": {\"poststop\": [\(Array(repeating: #"{"path": "/x"}"#, count: count).joined(separator: ","))]}")
        }
        #expect(paths(many(64)) == [] && paths(many(65)) == ["hooks.poststop"])
    }
}
