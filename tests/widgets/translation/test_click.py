"""The click-a-cell tool in a real window: what is a click, and what is not."""

from qtpy.QtCore import QPoint, Qt

pytest_plugins = ["real_window"]


def test_a_click_picks_and_a_drag_pans_and_the_3_d_view_says_so(window, small_screen, small_adapter):
    session, dock, viewer, bot = window.session, window.dock, window.viewer, window.qtbot
    window.open(small_screen)
    dock.load_adapter(small_adapter)
    window.wait(lambda: session.translator is not None and not dock.running.busy)
    canvas = viewer.window._qt_viewer.canvas.native
    middle, left = canvas.rect().center(), Qt.MouseButton.LeftButton
    window.click_pixel(90, 90)
    assert not session.here(), "the tool is off"
    window.press(dock.translate_panel.click)

    before = viewer.scene.camera.center
    bot.mousePress(canvas, left, pos=middle)
    for away in range(5, 45, 5):
        bot.mouseMove(canvas, middle + QPoint(away, away))
        bot.wait(10)
    bot.mouseRelease(canvas, left, pos=middle + QPoint(40, 40))
    assert viewer.scene.camera.center != before
    assert not session.here()

    viewer.dims.ndisplay = 3
    bot.wait(50)
    bot.mouseClick(canvas, left, pos=middle)
    assert not session.here()
    assert any("2-D view" in message for message in window.messages)

    viewer.dims.ndisplay = 2
    bot.wait(50)
    window.click_pixel(-40, 90)
    assert not session.here(), "beside the image"
    window.click_pixel(90, 80)
    window.wait(lambda: session.here())
    assert (90, 80) in session.here()
