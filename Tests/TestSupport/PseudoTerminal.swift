// What takes no name from it is linked all the same: its code runs before the tests.
import CLinux
import CTestSupport
import Glibc
import Linux

/// Makes a pseudo-terminal. (`ptsname(3)` has one buffer for the whole process: of two tests that ask at the same moment one would get
/// the other's terminal.)
///
/// - Parameter flags: of open(2), beside the usual ones.
/// - Returns: its master, which the caller closes, and the path of the terminal itself.
/// - Throws: ``SyscallError`` of the call that failed.
public func openTerminal(flags: Int32 = 0) throws(SyscallError) -> (master: Int32, path: String) {
    let master = FileDescriptor(owning: try attempt("posix_openpt") { posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | flags) })
    let number = master.rawValue
    try attempt("grantpt") { grantpt(number) }
    try attempt("unlockpt") { unlockpt(number) }
    var name = [CChar](repeating: 0, count: 128)
    let failure = ptsname_r(number, &name, name.count)
    if failure != 0 { throw SyscallError("ptsname_r", "", Errno(rawValue: failure)) }
    return (master.take(), String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
}
