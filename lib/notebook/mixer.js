// The merge mixer of a page without kernel: the same interpolation as in mixer_grid.py, in plain JavaScript.
var FreeLunchMixer = (function () {
  "use strict";

  // All ways to deal out nSteps shares, in lexicographic order: the text of each point, and its number.
  function pointNumbers(nModels, nSteps) {
    var numbers = {}, count = 0;
    (function deal(point, left) {
      if (point.length === nModels - 1) {
        numbers[point.concat([left]).join(",")] = count++;
        return;
      }
      for (var first = 0; first <= left; first++) deal(point.concat([first]), left - first);
    })([], nSteps);
    return numbers;
  }

  // The points around a mix and their shares, as [point, share].
  function corners(weights, nSteps) {
    var sums = [], total = 0;
    for (var i = 0; i < weights.length - 1; i++) {
      total += weights[i];
      var scaled = Math.min(Math.max(total * nSteps, 0), nSteps);
      sums.push(Math.round(scaled * 1e9) / 1e9); // 0.6 * 5 is not 3 to the last digit
    }
    var corner = sums.map(Math.floor);
    var rest = sums.map(function (sum, k) { return sum - corner[k]; });
    var order = rest.map(function (_, k) { return k; });
    order.sort(function (a, b) { return rest[b] - rest[a] || b - a; });
    var levels = [1].concat(order.map(function (k) { return rest[k]; }), [0]);
    var found = [];
    for (var step = 0; step <= sums.length; step++) {
      if (step) corner[order[step - 1]] += 1;
      var share = levels[step] - levels[step + 1];
      if (share > 0) {
        var edges = [0].concat(corner, [nSteps]);
        found.push([edges.slice(1).map(function (high, k) { return high - edges[k]; }), share]);
      }
    }
    return found;
  }

  function bytes(text) {
    var raw = atob(text), values = new Int8Array(raw.length);
    for (var i = 0; i < raw.length; i++) values[i] = raw.charCodeAt(i);
    return values;
  }

  function unpack(data) {
    data.cleanBytes = bytes(data.clean);
    data.attackedBytes = bytes(data.attacked);
    data.numbers = pointNumbers(data.names.length, data.n_steps);
    return data;
  }

  // Of n texts, how many get the label that wanted(i) says; label 0 has logit 0, the first among equals wins.
  function share(data, values, n, around, wanted) {
    var hits = 0, m = data.n_margins;
    for (var i = 0; i < n; i++) {
      var best = 0, label = 0;
      for (var j = 0; j < m; j++) {
        var margin = 0;
        for (var k = 0; k < around.length; k++) margin += around[k][1] * values[(around[k][0] * n + i) * m + j];
        margin = Math.round(margin * 1e9) / 1e9; // sums in another order are the same ones
        if (margin > best) { best = margin; label = j + 1; }
      }
      if (label === wanted(i)) hits++;
    }
    return hits / n;
  }

  function rates(data, weights) {
    var around = corners(weights, data.n_steps).map(function (corner) {
      return [data.numbers[corner[0].join(",")], corner[1]];
    });
    return [
      share(data, data.attackedBytes, data.n_attacked, around, function () { return data.target; }),
      share(data, data.cleanBytes, data.n_clean, around, function (i) { return data.labels[i]; }),
    ];
  }

  function percent(value) { return (100 * value).toFixed(1) + "%"; }

  function start(id, packed) {
    var root = document.getElementById(id), data = unpack(packed);
    var inputs = Array.from(root.querySelectorAll("input")), cells = root.querySelectorAll("td:nth-child(2)");
    var point = root.querySelector(".mixer-point"), line = root.querySelector(".mixer-rates");
    root.querySelector(".mixer-sliders").hidden = false;

    function follow() {
      var amounts = inputs.map(function (input) { return Number(input.value); });
      var total = amounts.reduce(function (sum, amount) { return sum + amount; }, 0);
      if (!total) { line.textContent = "Every slider is at zero: let at least one model take part."; return; }
      var weights = amounts.map(function (amount) { return amount / total; });
      var found = rates(data, weights), box = data.box;
      weights.forEach(function (weight, i) { cells[i].textContent = weight ? weight.toFixed(3) : "left out"; });
      var height = (Math.max(found[1], data.lowest) - data.lowest) / (1 - data.lowest);
      point.setAttribute("cx", box[0] + found[0] * (box[1] - box[0]));
      point.setAttribute("cy", box[2] + height * (box[3] - box[2]));
      line.textContent = "ASR " + percent(found[0]) + " (floor " + percent(data.clean_point[0]) + "), CACC " +
        percent(found[1]) + " (clean model " + percent(data.clean_point[1]) + ")";
    }
    inputs.forEach(function (input) { input.addEventListener("input", follow); });
    follow();
  }

  return { pointNumbers: pointNumbers, corners: corners, unpack: unpack, rates: rates, start: start };
})();
if (typeof module !== "undefined") module.exports = FreeLunchMixer;
