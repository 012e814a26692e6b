import ContainerSpec

/// The smallest good configuration with `extra` members added to the document, and `process` ones to `process`.
func document(_ extra: String = "", process: String = "") -> String {
    let members = process.isEmpty ? "" : ", " + process
    let rest = extra.isEmpty ? "" : ", " + extra
    return #"{"ociVersion": "1.2.0", "process": {"args": ["/bin/true"], "cwd": "/"\#(members)}\#(rest)}"#
}

func decode(_ json: String) throws(SpecError) -> ContainerSpec { try ContainerSpec.decode(Array(json.utf8)) }

/// The issues of a configuration; empty if there are none.
func issues(_ json: String) -> [SpecIssue] {
    do throws(SpecError) {
        _ = try decode(json)
        return []
    } catch { return error.issues }
}

/// The paths of the issues, in their order.
func paths(_ json: String) -> [String] { issues(json).map(\.path) }

/// What a configuration is refused with; empty if it is not.
func refusal(_ json: String) -> String {
    do throws(SpecError) {
        _ = try decode(json)
        return ""
    } catch { return error.description }
}

/// `linux` with the namespaces `names` and `members`.
func linux(_ members: String, namespaces names: [String] = ["mount", "pid", "ipc", "uts", "cgroup"]) -> String {
    let list = names.map { #"{"type": "\#($0)"}"# }.joined(separator: ", ")
    return document(#""linux": {"namespaces": [\#(list)], \#(members)}"#)
}

/// A document that has `linux.resources`.
func resources(_ members: String) -> String { linux(#""resources": {\#(members)}"#) }
