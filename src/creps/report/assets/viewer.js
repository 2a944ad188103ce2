"use strict";
// The slice viewer of a case report: two NiiVue views with one cross-hair.
(() => {
  const WINDOWS = { "soft tissue": [-160, 240], brain: [0, 100], bone: [-450, 1550], "air and lung": [-1200, 200], full: [-1000, 1000] };
  const DIFFERENCE = [-300, 300];
  const AXES = { axial: 2, coronal: 1, sagittal: 0 };
  const holder = document.getElementById("viewer-data");
  if (!holder) return;
  const failed = (why) => {
    const told = document.getElementById("viewer-failed");
    told.textContent = `The slice viewer cannot start here (${why}). It needs WebGL 2. The pictures above do not.`;
    told.hidden = false;
    document.querySelector(".panes").hidden = true;
  };
  const { Niivue, NVImage } = window.niivue;

  async function loaded(entry) {
    const image = await NVImage.loadFromBase64({ base64: entry.nifti, name: `${entry.key}.nii.gz` });
    return { ...entry, image };
  }

  function difference(sct, ct) {
    const image = ct.image.clone();
    image.img = Float32Array.from(ct.image.img, (value, index) => sct.image.img[index] - value);
    image.hdr.datatypeCode = 16;
    image.hdr.numBitsPerVoxel = 32;
    image.name = "difference";
    image.global_min = DIFFERENCE[0];
    image.global_max = DIFFERENCE[1];
    return { key: "difference", name: "sCT − CT", unit: "HU", window: DIFFERENCE, multiplier: 1, image };
  }

  function colours(entry) {
    return { difference: "difference", uncertainty: "cividis" }[entry.key] || "gray";
  }

  async function start() {
    const data = JSON.parse(holder.textContent);
    const entries = await Promise.all(data.volumes.map(loaded));
    const of = (key) => entries.find((entry) => entry.key === key);
    if (of("sct") && of("ct")) entries.push(difference(of("sct"), of("ct")));
    let hu = WINDOWS["soft tissue"];
    const views = [];
    for (const side of ["left", "right"]) {
      const view = new Niivue({
        backColor: [0, 0, 0, 1], crosshairColor: [1, 0.69, 0, 0.8], isRadiologicalConvention: true, sagittalNoseLeft: true,
        isOrientCube: false, show3Dcrosshair: false, dragMode: 0, isColorbar: false, logLevel: "silent", loadingText: "",
        crosshairWidth: 1, multiplanarShowRender: 0, multiplanarLayout: 2,
      });
      const canvas = document.querySelector(`[data-canvas=${side}]`);
      await view.attachToCanvas(canvas);
      if (!view.gl) throw new Error("no WebGL 2");
      view.addColormap("difference", { R: [45, 247, 127], G: [0, 247, 59], B: [75, 247, 8], A: [255, 255, 255], I: [0, 128, 255] });
      view.setSliceType(view.sliceTypeMultiplanar);
      views.push({ side, view, select: document.querySelector(`[data-pane=${side}]`), overlay: null });
    }
    views[0].view.broadcastTo([views[1].view], { "2d": true });
    views[1].view.broadcastTo([views[0].view], { "2d": true });

    function windowOf(entry) {
      return ["sct", "ct"].includes(entry.key) ? hu : entry.window;
    }

    function imaged(entry, opacity) {
      const image = entry.image.clone();
      image.opacity = opacity;
      image.colormap = colours(entry);
      [image.cal_min, image.cal_max] = windowOf(entry);
      return image;
    }

    function draw(pane) {
      const position = pane.view.scene.crosshairPos.slice();
      const volumes = [imaged(of(pane.select.value), 1)];
      if (pane.overlay) volumes.push(imaged(of(pane.overlay), Number(document.getElementById("opacity").value)));
      [pane.view.volumes, pane.view.back, pane.view.overlays] = [volumes, volumes[0], volumes.slice(1)];
      pane.view.updateGLVolume();
      pane.view.scene.crosshairPos = position;
      pane.view.drawScene();
    }

    function options(select, list, chosen) {
      for (const [value, name] of list) select.add(new Option(name, value, false, value === chosen));
    }
    const names = entries.map((entry) => [entry.key, entry.name]);
    options(views[0].select, names, ["mr", "ct", "sct"].find(of));
    options(views[1].select, names, "sct");
    const overlay = document.getElementById("overlay");
    options(overlay, [["", "none"], ...names], "");

    const readout = document.getElementById("readout");
    const cells = new Map(entries.map((entry) => {
      const [pair, name, value] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      name.textContent = entry.name;
      pair.append(name, value);
      readout.append(pair);
      return [entry.key, value];
    }));
    const sliders = Object.entries(AXES).map(([plane, axis]) => ({
      axis, input: document.querySelector(`[data-slice=${plane}]`), told: document.querySelector(`[data-of=${plane}]`),
    }));

    // NiiVue counts voxels from the left, the back and the feet; the array (D, H, W) from the feet, the front, the right.
    const inArray = ([i, j, k]) => [k, data.shape[1] - 1 - j, data.shape[2] - 1 - i];
    const numbered = (at, axis) => (data.first ? data.first[axis] + Math.floor((at + 0.5) * data.factors[axis]) : at);

    function tell() {
      const { view } = views[0];
      const voxel = Array.from(view.frac2vox(view.scene.crosshairPos), Math.round);
      const index = inArray(voxel);
      const mm = [0, 1, 2].map((n) => data.origin[n] + index.reduce((sum, at, axis) => sum + at * data.axes[axis][n], 0));
      document.getElementById("place").textContent = `x ${mm[0].toFixed(0)}, y ${mm[1].toFixed(0)}, z ${mm[2].toFixed(0)} mm (DICOM: to the left, back, head)`;
      for (const entry of entries) {
        const value = entry.image.getValue(...voxel) / entry.multiplier;
        const half = entry.key === "uncertainty" ? "± " : "";
        cells.get(entry.key).textContent = `${half}${entry.unit === "HU" ? value.toFixed(0) : value.toPrecision(3)} ${entry.unit}`;
      }
      for (const { axis, input, told } of sliders) {
        input.value = voxel[axis];
        told.textContent = numbered(index[2 - axis], 2 - axis);
      }
      document.body.dataset.voxel = voxel.join(",");
    }

    function moveTo(voxel) {
      for (const { view } of views) {
        view.scene.crosshairPos = view.vox2frac(voxel);
        view.drawScene();
      }
      tell();
    }

    const shape = entries[0].image.dimsRAS.slice(1, 4);
    for (const { axis, input } of sliders) {
      input.max = shape[axis] - 1;
      input.addEventListener("input", () => {
        const voxel = Array.from(views[0].view.frac2vox(views[0].view.scene.crosshairPos), Math.round);
        voxel[axis] = Number(input.value);
        moveTo(voxel);
      });
    }
    for (const pane of views) {
      pane.select.addEventListener("change", () => draw(pane));
      pane.view.onLocationChange = tell;
    }
    overlay.addEventListener("change", () => { views[1].overlay = overlay.value; draw(views[1]); });
    document.getElementById("opacity").addEventListener("input", () => draw(views[1]));
    for (const button of document.querySelectorAll("[data-goto]")) {
      button.addEventListener("click", () => {
        moveTo(button.dataset.goto.split(",").map(Number));
        document.getElementById("viewer-title").scrollIntoView();
      });
    }
    const buttons = Object.entries(WINDOWS).map(([name, ends]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.title = `${ends[0]} to ${ends[1]} HU`;
      button.addEventListener("click", () => {
        hu = ends;
        for (const one of buttons) one.setAttribute("aria-pressed", String(one === button));
        views.forEach(draw);
      });
      document.getElementById("windows").append(button);
      return button;
    });
    buttons[0].setAttribute("aria-pressed", "true");
    for (const pane of views) draw(pane);
    moveTo(shape.map((count) => Math.floor(count / 2)));
    document.getElementById("controls").hidden = false;
    document.body.dataset.viewer = "ready";
  }
  start().catch((error) => failed(error.message));
})();
