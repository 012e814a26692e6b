/*
 * Swift's Dictionary and Set ask libm for one function, ceil(3), to size their tables.  In the guest it stands here: the shared
 * libm would keep 0.4 MB of PID 1's memory for it, and the static one wants the dynamic linker's private symbols.
 */
#ifdef CLINUX_WITHOUT_LIBM
double ceil(double value);

double ceil(double value) {
    /* From 2^52 on every double is whole; comparisons with NaN are false. */
    if (!(value > -4503599627370496.0 && value < 4503599627370496.0)) return value;
    double whole = (double)(long long)value;
    return whole < value ? whole + 1 : whole;
}
#endif
