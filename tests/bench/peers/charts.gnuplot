# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: Waybill contributors
#
# Draws the tables of waybill_compare: gnuplot -e "tables='DIR'; results='DIR/NAME'" charts.gnuplot
# A chart that has no table, or only one point, is not drawn.
set terminal svg size 900,560 font "sans,14" background rgb "white"
set datafile missing "?"
set key outside right
set grid
set logscale xy
set format x "%.0f"
set format y "%.0f"

# The same colour in each chart.
names = "waybill sqlite lmdb rocksdb containerd containers-storage mesos mesos-sync append \
    group-commit hash-table"
colours = "#c00000 #0060a8 #2a9d4a #111111 #e08000 #8a5a2b #c060c0 #7040a0 #808080 #808080 #808080"
place_of(name) = int(sum [i = 1:words(names)] (word(names, i) eq name ? i : 0))
colour_of(name) = word(colours, place_of(name))
mark_of(name) = name eq "mesos" ? " (not durable)" : name eq "mesos-sync" ? " (variant)" : \
    place_of(name) > 8 ? " (limit)" : ""

chart_names = "put-by-writers put-latency-by-images start-by-images get-by-images"
array titles[4] = ["Puts per second by writers, among 1,000 images; more is better", \
    "Put by one writer, median by images held; less is better", \
    "New process: open the store and list everything; less is better", \
    "Get with every field read, one reader; less is better"]
array y_names[4] = ["puts/s", "microseconds", "milliseconds", "nanoseconds"]

do for [i = 1:words(chart_names)] {
    name = word(chart_names, i)
    file = tables."/".name.".table"
    if (int(system("cat '".file."' 2>/dev/null | wc -l")) > 2) {
        set output results."-".name.".svg"
        set title titles[i]
        set ylabel y_names[i]
        set xlabel (i == 1 ? "writers" : "images held")
        if (i == 1) { set xtics (1, 8, 64) } else { set xtics autofreq }
        engines = system("head -1 '".file."'")
        plot for [c = 2:words(engines)] file using 1:c with linespoints \
            linecolor rgb colour_of(word(engines, c)) pointtype c \
            linewidth (c == 2 ? 4 : 1.5) title word(engines, c).mark_of(word(engines, c))
        set output
    }
}
